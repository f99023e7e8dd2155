// Package s3 is the bucket in Amazon S3, or any S3-compatible store, by the AWS SDK's service client:
//
//	s3://bucket/prefix?region=eu-central-1
//	s3://bucket/prefix?endpoint=http://host:port&region=us-east-1&path-style=true
//
// A custom endpoint is addressed by path unless path-style=false. Objects up to 64 MiB are one request with the object's CRC32C; larger ones go in
// parts of that size, each with its own, and are aborted when they fail. A request is sent at most four times, and a store that does not answer
// is given up.
//
// Credentials come from where the SDK looks: environment, shared files, container or instance role. The bucket must exist.
package s3

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"varve/tiering"
)

const (
	// partBytes is the size (bytes) up to which an object is sent in one request, and of the parts of larger ones.
	partBytes = 64 << 20
	// deleteBatch is how many keys one request may delete.
	deleteBatch = 1000
	// defaultRegion is taken for a custom endpoint that names none: such stores accept any.
	defaultRegion = "us-east-1"
	maxAttempts   = 4
	// answerTimeout is how long a store may take to answer a request that it has got; sendTimeout bounds the sending of partBytes with its
	// retries, abortTimeout the clean-up after a failure.
	answerTimeout = time.Minute
	sendTimeout   = 10 * time.Minute
	abortTimeout  = 30 * time.Second
)

var parameters = []string{"endpoint", "region", "path-style"}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type bucket struct {
	client       *s3.Client
	name, prefix string
}

// Open returns the bucket of an s3:// URL after it has asked whether it is there.
func Open(ctx context.Context, u *url.URL) (tiering.Bucket, error) {
	return open(ctx, u, answerTimeout)
}

func open(ctx context.Context, u *url.URL, answerTimeout time.Duration) (tiering.Bucket, error) {
	q := u.Query()
	if u.Host == "" {
		return nil, fmt.Errorf("bucket %s: want s3://bucket/prefix", u.Redacted())
	}
	for parameter := range q {
		if !slices.Contains(parameters, parameter) {
			return nil, fmt.Errorf("bucket %s: no parameter %q: use %s", u.Redacted(), parameter, strings.Join(parameters, ", "))
		}
	}
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answerTimeout })
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(transport)}
	if region := q.Get("region"); region != "" {
		load = append(load, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", u.Redacted(), err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { setOptions(o, q) })
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		prefix += "/"
	}
	b := &bucket{client: client, name: u.Host, prefix: prefix}
	_, err = client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.name})
	if errors.Is(failed("head", "", err), tiering.ErrNotFound) {
		return nil, fmt.Errorf("bucket %s does not exist: make it, or correct the URL", u.Redacted())
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s does not answer: %w", u.Redacted(), err)
	}
	return b, nil
}

// setOptions sets what the URL and our kind of use ask for.
func setOptions(o *s3.Options, q url.Values) {
	if endpoint := q.Get("endpoint"); endpoint != "" {
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		o.BaseEndpoint = &endpoint
	}
	custom := o.BaseEndpoint != nil // which the SDK's environment variables may also have set
	if custom {
		o.Region = cmp.Or(o.Region, defaultRegion)
		// The SDK's own checksums, as trailers, are more than some stores understand; we send CRC32C in the header.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	// Who reads verifies: the SDK could do so for whole objects only, which are rarely read.
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.UsePathStyle = q.Get("path-style") == "true" || custom && q.Get("path-style") != "false"
	// A conditional put that met a deletion is to be sent again.
	o.Retryer = retry.AddWithMaxAttempts(retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict"), maxAttempts)
}

func (b *bucket) key(key string) *string { return aws.String(b.prefix + key) }

func failed(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound": // NotFound is the answer to HEAD, which has no body
			err = tiering.ErrNotFound
		case "PreconditionFailed":
			err = tiering.ErrExists
		}
	}
	return &tiering.ObjectError{Op: op, Key: key, Err: err}
}

func encodeCRC(crc uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc)))
}

func (b *bucket) Put(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) error {
	if o.Size > partBytes {
		return failed("put", key, b.putParts(ctx, key, body, o))
	}
	in := &s3.PutObjectInput{Bucket: &b.name, Key: b.key(key), Body: io.NewSectionReader(body, 0, o.Size), ContentLength: &o.Size, ChecksumCRC32C: encodeCRC(o.CRC32C)}
	if o.IfNoneMatch {
		in.IfNoneMatch = aws.String("*")
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err := b.client.PutObject(ctx, in)
	return failed("put", key, err)
}

// putParts sends a large object in parts, each with its checksum; the whole one's is checked on the way, and the object made only if it is right.
func (b *bucket) putParts(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) (err error) {
	up, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: b.key(key), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // not with ctx, which may have ended
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
			defer cancel()
			_, _ = b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: b.key(key), UploadId: up.UploadId})
		}
	}()
	whole := crc32.New(castagnoli)
	var parts []types.CompletedPart
	for at := int64(0); at < o.Size; at += partBytes {
		data := io.NewSectionReader(body, at, min(partBytes, o.Size-at))
		part := crc32.New(castagnoli)
		if _, err := io.Copy(io.MultiWriter(whole, part), data); err != nil {
			return err
		}
		sent, err := b.putPart(ctx, key, up.UploadId, int32(len(parts)+1), data, encodeCRC(part.Sum32()))
		if err != nil {
			return err
		}
		parts = append(parts, sent)
	}
	if whole.Sum32() != o.CRC32C {
		return tiering.ErrChecksum
	}
	in := &s3.CompleteMultipartUploadInput{Bucket: &b.name, Key: b.key(key), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	if o.IfNoneMatch {
		in.IfNoneMatch = aws.String("*")
	}
	_, err = b.client.CompleteMultipartUpload(ctx, in)
	return err
}

func (b *bucket) putPart(ctx context.Context, key string, id *string, number int32, data *io.SectionReader, sum *string) (types.CompletedPart, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if _, err := data.Seek(0, io.SeekStart); err != nil {
		return types.CompletedPart{}, err
	}
	sent, err := b.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &b.name, Key: b.key(key), UploadId: id, PartNumber: &number,
		Body: data, ContentLength: aws.Int64(data.Size()), ChecksumCRC32C: sum})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{PartNumber: &number, ETag: sent.ETag, ChecksumCRC32C: sum}, nil
}

func (b *bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	in := &s3.GetObjectInput{Bucket: &b.name, Key: b.key(key)}
	switch {
	case length > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return nil, failed("get", key, err)
	}
	return out.Body, nil
}

func (b *bucket) Stat(ctx context.Context, key string) (tiering.ObjectInfo, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: b.key(key), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return tiering.ObjectInfo{}, failed("stat", key, err)
	}
	info := tiering.ObjectInfo{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}
	// The checksum of an object in parts is of the parts' checksums ("…-3") and says nothing of the bytes.
	if raw, err := base64.StdEncoding.DecodeString(aws.ToString(out.ChecksumCRC32C)); err == nil && len(raw) == 4 {
		info.CRC32C = aws.Uint32(binary.BigEndian.Uint32(raw))
	}
	return info, nil
}

func (b *bucket) List(ctx context.Context, prefix, after string, f func(tiering.ObjectInfo) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: b.key(prefix)}
	if after != "" {
		in.StartAfter = b.key(after)
	}
	for pages := s3.NewListObjectsV2Paginator(b.client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list", prefix, err)
		}
		for _, o := range page.Contents {
			if !f(tiering.ObjectInfo{Key: strings.TrimPrefix(aws.ToString(o.Key), b.prefix), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}) {
				return nil
			}
		}
	}
	return nil
}

func (b *bucket) Delete(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(deleteBatch, len(keys))
		in := &s3.DeleteObjectsInput{Bucket: &b.name, Delete: &types.Delete{Quiet: aws.Bool(true)}}
		for _, key := range keys[:n] {
			in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: b.key(key)})
		}
		keys = keys[n:]
		out, err := b.client.DeleteObjects(ctx, in)
		if err != nil {
			return failed("delete", aws.ToString(in.Delete.Objects[0].Key), err)
		}
		for _, e := range out.Errors {
			if code := aws.ToString(e.Code); code != "NoSuchKey" {
				return failed("delete", strings.TrimPrefix(aws.ToString(e.Key), b.prefix), errors.New(code+": "+aws.ToString(e.Message)))
			}
		}
	}
	return nil
}
