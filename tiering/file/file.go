// Package file is the bucket in a directory: file:///dir. An object is a file; it appears whole or not at all, and survives a crash once Put has
// returned. For one machine, for tests, and for file systems that several brokers share and that rename and link atomically. Files that are being
// written are in a directory of their own; what a crash leaves there goes when the bucket is opened a day later.
package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"varve/tiering"
)

const (
	// temporary is the directory of files that are being written; no key contains "~".
	temporary = ".tmp~"
	// abandoned is how long nothing was written to a temporary file whose writer is gone.
	abandoned = 24 * time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type bucket struct{ root string }

// Open returns the bucket of a file:// URL and makes its directory.
func Open(_ context.Context, u *url.URL) (tiering.Bucket, error) {
	if u.Scheme != "file" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("bucket %s: want file:///absolute/directory", u)
	}
	for name := range u.Query() {
		return nil, fmt.Errorf("bucket %s: no parameter %q: there are none", u, name)
	}
	b := &bucket{filepath.Clean(u.Path)}
	if err := os.MkdirAll(filepath.Join(b.root, temporary), 0o755); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", u, err)
	}
	if err := b.clean(time.Now().Add(-abandoned)); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", u, err)
	}
	return b, nil
}

// clean removes the temporary files that were last written before the time.
func (b *bucket) clean(before time.Time) error {
	dir := filepath.Join(b.root, temporary)
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err == nil && info.ModTime().Before(before) {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another broker may clean too
			return err
		}
	}
	return nil
}

var errKey = errors.New("not a key")

// file is the path of a key. Keys that would leave the directory are refused.
func (b *bucket) file(op, key string) (string, error) {
	if key == "." || !fs.ValidPath(key) || strings.ContainsAny(key, "~\x00") {
		return "", &tiering.ObjectError{Op: op, Key: key, Err: errKey}
	}
	return filepath.Join(b.root, filepath.FromSlash(key)), nil
}

func failed(op, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // the latter: a part of the key is an object
		err = tiering.ErrNotFound
	case errors.Is(err, fs.ErrExist):
		err = tiering.ErrExists
	}
	return &tiering.ObjectError{Op: op, Key: key, Err: err}
}

// Put writes a temporary file, syncs, and moves it into place.
func (b *bucket) Put(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) error {
	name, err := b.file("put", key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return failed("put", key, err)
	}
	f, err := os.CreateTemp(filepath.Join(b.root, temporary), "")
	if err != nil {
		return failed("put", key, err)
	}
	defer os.Remove(f.Name())
	sum := crc32.New(castagnoli)
	_, err = io.Copy(io.MultiWriter(f, sum), reader{ctx, io.NewSectionReader(body, 0, o.Size)})
	if err == nil && sum.Sum32() != o.CRC32C {
		err = tiering.ErrChecksum
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return failed("put", key, err)
	}
	if o.IfNoneMatch {
		err = os.Link(f.Name(), name)
	} else {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = b.syncDirs(filepath.Dir(name))
	}
	return failed("put", key, err)
}

// syncDirs makes the names in dir and above it durable: a directory may be new.
func (b *bucket) syncDirs(dir string) error {
	for {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		if dir == b.root {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (b *bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	info, err := b.stat(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > info.Size || offset == info.Size && (offset > 0 || length > 0) {
		return nil, failed("get", key, fmt.Errorf("offset %d is not in the %d bytes of the object", offset, info.Size))
	}
	f, err := os.Open(filepath.Join(b.root, filepath.FromSlash(key)))
	if err != nil {
		return nil, failed("get", key, err)
	}
	if length < 0 {
		length = 1<<63 - 1 - offset
	}
	return struct {
		io.Reader
		io.Closer
	}{reader{ctx, io.NewSectionReader(f, offset, length)}, f}, nil
}

func (b *bucket) Stat(ctx context.Context, key string) (tiering.ObjectInfo, error) {
	return b.stat(ctx, "stat", key)
}

func (b *bucket) stat(ctx context.Context, op, key string) (tiering.ObjectInfo, error) {
	name, err := b.file(op, key)
	if err != nil {
		return tiering.ObjectInfo{}, err
	}
	if err := ctx.Err(); err != nil {
		return tiering.ObjectInfo{}, failed(op, key, err)
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return tiering.ObjectInfo{}, failed(op, key, err)
	}
	return tiering.ObjectInfo{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

func (b *bucket) List(ctx context.Context, prefix, after string, f func(tiering.ObjectInfo) bool) error {
	dir := path.Dir(prefix + "x") // only the part of the tree that can match
	if !fs.ValidPath(dir) {
		return failed("list", prefix, errKey)
	}
	_, err := b.walk(ctx, dir, after, func(key string, d fs.DirEntry) (bool, error) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			return true, nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil // it went while we looked
		}
		return err == nil && f(tiering.ObjectInfo{Key: key, Size: info.Size(), Modified: info.ModTime()}), err
	})
	return failed("list", prefix, err)
}

// walk visits the files below dir in key order, in which a directory sorts as its name and a slash, until visit returns false. It leaves out
// directories that are wholly before after.
func (b *bucket) walk(ctx context.Context, dir, after string, visit func(key string, d fs.DirEntry) (bool, error)) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(b.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	sortName := func(d fs.DirEntry) string {
		if d.IsDir() {
			return d.Name() + "/"
		}
		return d.Name()
	}
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return cmp.Compare(sortName(x), sortName(y)) })
	for _, d := range entries {
		key := path.Join(dir, d.Name())
		switch {
		case key == temporary, d.IsDir() && key+"/" < after && !strings.HasPrefix(after, key+"/"):
			continue
		case d.IsDir():
			more, err = b.walk(ctx, key, after, visit)
		default:
			more, err = visit(key, d)
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (b *bucket) Delete(ctx context.Context, keys []string) error {
	for _, key := range keys {
		name, err := b.file("delete", key)
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return failed("delete", key, err)
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed("delete", key, err)
		}
	}
	return nil
}
