package tiering

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNotFound is wrapped by every driver when a key does not exist, ErrExists when if-none-match failed, ErrChecksum when the bytes that arrived are
// not those whose checksum was given.
var (
	ErrNotFound = errors.New("no such object")
	ErrExists   = errors.New("object exists")
	ErrChecksum = errors.New("checksum mismatch")
)

// An ObjectError says which operation failed on which object. Whether trying again may help is the cause's to tell: ErrNotFound, ErrExists and
// ErrChecksum are final, everything else is not.
type ObjectError struct {
	Op, Key string
	Err     error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("bucket: %s %s: %v", e.Op, e.Key, e.Err) }

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

// ObjectInfo is what the store says of an object. CRC32C is nil when the store does not keep one.
type ObjectInfo struct {
	Key      string
	Size     int64 // bytes
	CRC32C   *uint32
	Modified time.Time
}

// PutOptions of one object.
type PutOptions struct {
	Size        int64  // bytes
	CRC32C      uint32 // of all bytes (Castagnoli)
	IfNoneMatch bool   // fail with ErrExists rather than overwrite
}

// Bucket is an object store. Keys are relative to the URL's prefix, of letters, digits and "-_./", without empty, "." or ".." elements. Safe for
// concurrent use; what was put is seen by every later call. Errors are *ObjectError.
type Bucket interface {
	// Put stores the first o.Size bytes of body. It may read parts of body several times and concurrently, and retains it only until it returns.
	Put(ctx context.Context, key string, body io.ReaderAt, o PutOptions) error
	// Get reads [offset, offset+length) into a reader that the caller closes; length -1: to the end. A range that begins at or beyond the end of
	// the object is an error, but for all of an empty object; one that goes beyond it ends there.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List calls f in key order for the objects whose key begins with prefix and is > after, until f returns false.
	List(ctx context.Context, prefix, after string, f func(ObjectInfo) bool) error
	// Delete removes keys; those that do not exist are no error.
	Delete(ctx context.Context, keys []string) error
}
