// Package minio is the bucket in MinIO, or any S3-compatible store, by minio-go:
//
//	minio://bucket/prefix?endpoint=host:port&secure=false&region=…
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
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"varve/tiering"
)

// partBytes is the size (bytes) up to which an object is sent in one request, and of the parts of larger ones.
const partBytes = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type bucket struct {
	client       *minio.Client
	name, prefix string
}

// Open returns the bucket of a minio:// URL after it has asked whether it is there.
func Open(ctx context.Context, u *url.URL) (tiering.Bucket, error) {
	q := u.Query()
	if u.Host == "" || q.Get("endpoint") == "" {
		return nil, fmt.Errorf("bucket %s: want minio://bucket/prefix?endpoint=host:port", u.Redacted())
	}
	creds := credentials.NewChainCredentials([]credentials.Provider{
		&credentials.Static{Value: credentials.Value{AccessKeyID: os.Getenv("MINIO_ROOT_USER"), SecretAccessKey: os.Getenv("MINIO_ROOT_PASSWORD"), SignerType: credentials.SignatureV4}},
		&credentials.EnvMinio{}, &credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.FileMinioClient{}, &credentials.IAM{},
	})
	client, err := minio.New(q.Get("endpoint"), &minio.Options{Creds: creds, Secure: q.Get("secure") != "false", Region: q.Get("region"), MaxRetries: 3, TrailingHeaders: true})
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
		switch {
		case answer.StatusCode == http.StatusNotFound:
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
			_ = core.AbortMultipartUpload(context.WithoutCancel(ctx), b.name, b.prefix+key, id)
		}
	}()
	whole := crc32.New(castagnoli)
	var parts []minio.CompletePart
	for at := int64(0); at < o.Size; at += partBytes {
		size := min(partBytes, o.Size-at)
		part := crc32.New(castagnoli)
		if _, err := io.Copy(io.MultiWriter(whole, part), io.NewSectionReader(body, at, size)); err != nil {
			return err
		}
		header := http.Header{}
		header.Set("x-amz-checksum-crc32c", encodeCRC(part.Sum32()))
		sent, err := core.PutObjectPart(ctx, b.name, b.prefix+key, id, len(parts)+1, io.NewSectionReader(body, at, size), size,
			minio.PutObjectPartOptions{CustomHeader: header, DisableContentSha256: true})
		if err != nil {
			return err
		}
		parts = append(parts, minio.CompletePart{PartNumber: sent.PartNumber, ETag: sent.ETag, ChecksumCRC32C: encodeCRC(part.Sum32())})
	}
	if whole.Sum32() != o.CRC32C {
		return tiering.ErrChecksum
	}
	_, err = core.CompleteMultipartUpload(ctx, b.name, b.prefix+key, id, parts, minio.PutObjectOptions{})
	return err
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	if after != "" {
		opts.StartAfter = b.prefix + after
	}
	for o := range b.client.ListObjectsIter(ctx, b.name, opts) {
		if o.Err != nil {
			return failed("list", prefix, o.Err)
		}
		if !f(tiering.ObjectInfo{Key: strings.TrimPrefix(o.Key, b.prefix), Size: o.Size, Modified: o.LastModified}) {
			break
		}
	}
	return nil
}

func (b *bucket) Delete(ctx context.Context, keys []string) error {
	objects := make(chan minio.ObjectInfo, len(keys))
	for _, key := range keys {
		objects <- minio.ObjectInfo{Key: b.prefix + key}
	}
	close(objects)
	var errs []error
	for e := range b.client.RemoveObjects(ctx, b.name, objects, minio.RemoveObjectsOptions{}) {
		if err := failed("delete", strings.TrimPrefix(e.ObjectName, b.prefix), e.Err); !errors.Is(err, tiering.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
