// Package tiering uploads sealed segments, reads them back, and applies retention over both tiers.
package tiering

// CONTRACT (skeleton). Owner: tiering room.

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound is wrapped by every driver when a key does not exist. ErrExists when if-none-match failed.
var (
	ErrNotFound = errors.New("no such object")
	ErrExists   = errors.New("object exists")
)

// ObjectInfo is what the store says of an object. CRC32C is nil when the store does not keep one.
type ObjectInfo struct {
	Key      string
	Size     int64
	CRC32C   *uint32
	Modified time.Time
}

// PutOptions of one object.
type PutOptions struct {
	Size        int64
	CRC32C      uint32
	IfNoneMatch bool // fail with ErrExists rather than overwrite
}

// Bucket is an object store. Keys are relative to the URL's prefix. Safe for concurrent use; read-after-write consistent.
type Bucket interface {
	Put(ctx context.Context, key string, body io.ReaderAt, o PutOptions) error
	// Get reads [offset, offset+length) into a reader that the caller closes; length -1: to the end.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List calls f in key order for objects with prefix and key > after, until f returns false.
	List(ctx context.Context, prefix, after string, f func(ObjectInfo) bool) error
	Delete(ctx context.Context, keys []string) error // missing keys are no error
}
