// Package minio is the bucket in MinIO, or any S3-compatible store, by minio-go:
//
//	minio://bucket/prefix?endpoint=host:port&secure=false&region=…
//
// Objects up to 64 MiB are one request with the object's CRC32C; larger ones go in parts of that size, each with its own, and are aborted when
// they fail. A request is sent at most four times, and a store that does not answer is given up.
//
// Credentials come from MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, the AWS and MinIO client files, or the instance's role, whichever is found first. The bucket must exist.
package minio

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"varve/tiering"
)

const (
	// partBytes is the size (bytes) up to which an object is sent in one request, and of the parts of larger ones.
	partBytes = 64 << 20
	// sendTimeout bounds the sending of partBytes with its retries, abortTimeout the clean-up after a failure.
	sendTimeout  = 10 * time.Minute
	abortTimeout = 30 * time.Second
	maxRetries   = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var parameters = []string{"endpoint", "secure", "region"}

type bucket struct {
	client       *minio.Client
	name, prefix string
}

// Open returns the bucket of a minio:// URL after it has asked whether it is there.
func Open(ctx context.Context, u *url.URL) (tiering.Bucket, error) {
	q := u.Query()
	if u.Host == "" || q.Get("endpoint") == "" || strings.Contains(q.Get("endpoint"), "://") {
		return nil, fmt.Errorf("bucket %s: want minio://bucket/prefix?endpoint=host:port, and secure=false for http", u.Redacted())
	}
	for parameter := range q {
		if !slices.Contains(parameters, parameter) {
			return nil, fmt.Errorf("bucket %s: no parameter %q: use %s", u.Redacted(), parameter, strings.Join(parameters, ", "))
		}
	}
	creds := credentials.NewChainCredentials([]credentials.Provider{
		&credentials.Static{Value: credentials.Value{AccessKeyID: os.Getenv("MINIO_ROOT_USER"), SecretAccessKey: os.Getenv("MINIO_ROOT_PASSWORD"), SignerType: credentials.SignatureV4}},
		&credentials.EnvMinio{}, &credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.FileMinioClient{}, &credentials.IAM{},
	})
	client, err := minio.New(q.Get("endpoint"), &minio.Options{Creds: creds, Secure: q.Get("secure") != "false", Region: q.Get("region"), MaxRetries: maxRetries, TrailingHeaders: true})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", u.Redacted(), err)
	}
	b := &bucket{client: client, name: u.Host, prefix: prefixOf(u.Path)}
	switch there, err := client.BucketExists(ctx, b.name); {
	case err != nil:
		return nil, fmt.Errorf("bucket %s does not answer: %w", u.Redacted(), err)
	case !there:
		return nil, fmt.Errorf("bucket %s does not exist: make it, or correct the URL", u.Redacted())
	}
	return b, nil
}

// prefixOf is the path of a URL as what keys begin with.
func prefixOf(path string) string {
	if path = strings.Trim(path, "/"); path != "" {
		path += "/"
	}
	return path
}

func failed(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		switch { // by code: a bucket that is gone, or a proxy, also answers 404
		case answer.Code == minio.NoSuchKey:
			err = tiering.ErrNotFound
		case answer.StatusCode == http.StatusPreconditionFailed:
			err = tiering.ErrExists
		}
	}
	return &tiering.ObjectError{Op: op, Key: key, Err: err}
}

func (b *bucket) Put(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) error {
	if o.Size > partBytes {
		return failed("put", key, b.putParts(ctx, key, body, o))
	}
	opts := minio.PutObjectOptions{DisableMultipart: true, SendContentMd5: false, UserMetadata: map[string]string{"x-amz-checksum-crc32c": encodeCRC(o.CRC32C)}}
	if o.IfNoneMatch {
		opts.SetMatchETagExcept("*")
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err := b.client.PutObject(ctx, b.name, b.prefix+key, io.NewSectionReader(body, 0, o.Size), o.Size, opts)
	return failed("put", key, err)
}

// putParts sends a large object in parts, each with its checksum; the whole one's is checked on the way, and the object made only if it is right.
func (b *bucket) putParts(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) (err error) {
	core := minio.Core{Client: b.client}
	id, err := core.NewMultipartUpload(ctx, b.name, b.prefix+key, minio.PutObjectOptions{UserMetadata: map[string]string{"x-amz-checksum-algorithm": "CRC32C"}})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // not with ctx, which may have ended
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
			defer cancel()
			_ = core.AbortMultipartUpload(ctx, b.name, b.prefix+key, id)
		}
	}()
	whole := crc32.New(castagnoli)
	var parts []minio.CompletePart
	for at := int64(0); at < o.Size; at += partBytes {
		data := io.NewSectionReader(body, at, min(partBytes, o.Size-at))
		part := crc32.New(castagnoli)
		if _, err := io.Copy(io.MultiWriter(whole, part), data); err != nil {
			return err
		}
		sent, err := b.putPart(ctx, key, id, len(parts)+1, data, part.Sum32())
		if err != nil {
			return err
		}
		parts = append(parts, sent)
	}
	if whole.Sum32() != o.CRC32C {
		return tiering.ErrChecksum
	}
	var opts minio.PutObjectOptions
	if o.IfNoneMatch {
		opts.SetMatchETagExcept("*")
	}
	_, err = core.CompleteMultipartUpload(ctx, b.name, b.prefix+key, id, parts, opts)
	return err
}

func (b *bucket) putPart(ctx context.Context, key, id string, number int, data *io.SectionReader, crc uint32) (minio.CompletePart, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if _, err := data.Seek(0, io.SeekStart); err != nil {
		return minio.CompletePart{}, err
	}
	header := http.Header{}
	header.Set("x-amz-checksum-crc32c", encodeCRC(crc))
	core := minio.Core{Client: b.client}
	sent, err := core.PutObjectPart(ctx, b.name, b.prefix+key, id, number, data, data.Size(), minio.PutObjectPartOptions{CustomHeader: header, DisableContentSha256: true})
	return minio.CompletePart{PartNumber: number, ETag: sent.ETag, ChecksumCRC32C: encodeCRC(crc)}, err
}

// encodeCRC is how S3 writes a checksum.
func encodeCRC(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

func (b *bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	var opts minio.GetObjectOptions
	if offset > 0 || length > 0 {
		end := int64(0) // to the end
		if length > 0 {
			end = offset + length - 1
		}
		if err := opts.SetRange(offset, end); err != nil {
			return nil, failed("get", key, err)
		}
	}
	core := minio.Core{Client: b.client}
	body, _, _, err := core.GetObject(ctx, b.name, b.prefix+key, opts)
	if err != nil {
		return nil, failed("get", key, err)
	}
	return body, nil
}

func (b *bucket) Stat(ctx context.Context, key string) (tiering.ObjectInfo, error) {
	info, err := b.client.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return tiering.ObjectInfo{}, failed("stat", key, err)
	}
	return tiering.ObjectInfo{Key: key, Size: info.Size, CRC32C: decodeCRC(info.ChecksumCRC32C), Modified: info.LastModified}, nil
}

// decodeCRC reads a whole object's checksum; that of an object in parts is of the parts' checksums and says nothing of the bytes.
func decodeCRC(text string) *uint32 {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return nil
	}
	crc := binary.BigEndian.Uint32(raw)
	return &crc
}

func (b *bucket) List(ctx context.Context, prefix, after string, f func(tiering.ObjectInfo) bool) error {
	listing, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	if after != "" {
		opts.StartAfter = b.prefix + after
	}
	for o := range b.client.ListObjectsIter(listing, b.name, opts) {
		if o.Err != nil {
			return failed("list", prefix, o.Err)
		}
		if !f(tiering.ObjectInfo{Key: strings.TrimPrefix(o.Key, b.prefix), Size: o.Size, Modified: o.LastModified}) {
			return nil
		}
	}
	return failed("list", prefix, ctx.Err()) // the iterator ends without an error when its context does
}

func (b *bucket) Delete(ctx context.Context, keys []string) error {
	objects := make(chan minio.ObjectInfo, len(keys))
	for _, key := range keys {
		objects <- minio.ObjectInfo{Key: b.prefix + key}
	}
	close(objects)
	var first error // one that concerns all of a batch is told for each of its keys
	for e := range b.client.RemoveObjects(ctx, b.name, objects, minio.RemoveObjectsOptions{}) {
		if err := failed("delete", strings.TrimPrefix(e.ObjectName, b.prefix), e.Err); first == nil && !errors.Is(err, tiering.ErrNotFound) {
			first = err
		}
	}
	if first == nil && ctx.Err() != nil { // some stores get single requests, which end without an error when the context does
		first = failed("delete", "", ctx.Err())
	}
	return first
}
