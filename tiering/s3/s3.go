// Package s3 is the bucket in Amazon S3, or any S3-compatible store, by the AWS SDK's service client:
//
//	s3://bucket/prefix?region=eu-central-1
//	s3://bucket/prefix?endpoint=http://host:port&region=us-east-1&path-style=true
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
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"varve/tiering"
)

const (
	// partBytes is the size (bytes) up to which an object is sent in one request, and of the parts of larger ones.
	partBytes = 64 << 20
	// deleteBatch is how many keys one request may delete.
	deleteBatch = 1000
	// defaultRegion is taken for a custom endpoint that names none: such stores accept any.
	defaultRegion = "us-east-1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type bucket struct {
	client       *s3.Client
	name, prefix string
}

// Open returns the bucket of an s3:// URL after it has asked whether it is there.
func Open(ctx context.Context, u *url.URL) (tiering.Bucket, error) {
	q := u.Query()
	if u.Host == "" {
		return nil, fmt.Errorf("bucket %s: want s3://bucket/prefix", u.Redacted())
	}
	endpoint := q.Get("endpoint")
	var load []func(*config.LoadOptions) error
	if region := q.Get("region"); region != "" {
		load = append(load, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", u.Redacted(), err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			if !strings.Contains(endpoint, "://") {
				endpoint = "https://" + endpoint
			}
			o.BaseEndpoint = &endpoint
			o.Region = cmp.Or(o.Region, defaultRegion)
			// The SDK's own checksums, as trailers, are more than some stores understand; we send CRC32C in the header.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
		o.UsePathStyle = q.Get("path-style") == "true"
	})
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

func (b *bucket) key(key string) *string { return aws.String(b.prefix + key) }

func failed(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound", "NoSuchBucket":
			err = tiering.ErrNotFound
		case "PreconditionFailed", "ConditionalRequestConflict":
			err = tiering.ErrExists
		}
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		err = tiering.ErrNotFound
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
			_, _ = b.client.AbortMultipartUpload(context.WithoutCancel(ctx), &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: b.key(key), UploadId: up.UploadId})
		}
	}()
	whole := crc32.New(castagnoli)
	var parts []types.CompletedPart
	for at := int64(0); at < o.Size; at += partBytes {
		size, number := min(partBytes, o.Size-at), int32(len(parts)+1)
		part := crc32.New(castagnoli)
		if _, err := io.Copy(io.MultiWriter(whole, part), io.NewSectionReader(body, at, size)); err != nil {
			return err
		}
		sum := encodeCRC(part.Sum32())
		sent, err := b.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &b.name, Key: b.key(key), UploadId: up.UploadId, PartNumber: &number,
			Body: io.NewSectionReader(body, at, size), ContentLength: &size, ChecksumCRC32C: sum})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: sent.ETag, ChecksumCRC32C: sum})
	}
	if whole.Sum32() != o.CRC32C {
		return tiering.ErrChecksum
	}
	_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &b.name, Key: b.key(key), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return err
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
