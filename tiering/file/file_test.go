package file

import (
	"bytes"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"varve/tiering"
	"varve/tiering/buckettest"
)

func open(t *testing.T) tiering.Bucket {
	t.Helper()
	b, err := Open(t.Context(), &url.URL{Scheme: "file", Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBucket(t *testing.T) { buckettest.Run(t, open(t)) }

// TestKeysStayInside: no key leaves the directory.
func TestKeysStayInside(t *testing.T) {
	b := open(t)
	for _, key := range []string{"", ".", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/./b", "a/", temporary + "/x", "a\x00"} {
		if err := b.Put(t.Context(), key, bytes.NewReader(nil), tiering.PutOptions{}); err == nil {
			t.Errorf("%q was accepted", key)
		}
	}
	for _, prefix := range []string{"../", "/", "a/../../"} {
		err := b.List(t.Context(), prefix, "", func(o tiering.ObjectInfo) bool { t.Errorf("%q lists %s", prefix, o.Key); return true })
		if err == nil {
			t.Errorf("prefix %q was accepted", prefix)
		}
	}
}

// TestDirectoryIsNoObject: what is only a part of keys is not found, and nothing is below an object.
func TestDirectoryIsNoObject(t *testing.T) {
	b := open(t)
	if err := b.Put(t.Context(), "a/b", bytes.NewReader(nil), tiering.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		if _, err := b.Get(t.Context(), key, 0, -1); !errors.Is(err, tiering.ErrNotFound) {
			t.Errorf("get %s: %v", key, err)
		}
		if _, err := b.Stat(t.Context(), key); !errors.Is(err, tiering.ErrNotFound) {
			t.Errorf("stat %s: %v", key, err)
		}
	}
}

// TestCrashLeftovers: what a writer that died left is never listed, and goes a day later; what is being written stays.
func TestCrashLeftovers(t *testing.T) {
	u := &url.URL{Scheme: "file", Path: t.TempDir()}
	b, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(u.Path, temporary, "1"), filepath.Join(u.Path, temporary, "2")
	for _, name := range []string{old, fresh} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-abandoned-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := b.List(t.Context(), "", "", func(o tiering.ObjectInfo) bool { t.Errorf("%s is listed", o.Key); return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old leftover: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a file that may be being written: %v", err)
	}
}

// TestFailedPutLeavesNothing: neither an object nor a temporary file.
func TestFailedPutLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(t.Context(), &url.URL{Scheme: "file", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "short", bytes.NewReader([]byte("abc")), tiering.PutOptions{Size: 5}); !errors.Is(err, tiering.ErrChecksum) {
		t.Errorf("a body that is shorter than its size: %v", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, temporary)} {
		files, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Name() != temporary {
				t.Errorf("%s is left", f.Name())
			}
		}
	}
}

// TestURL: only absolute directories on this machine.
func TestURL(t *testing.T) {
	for _, text := range []string{"file://host/dir", "s3://x", "file:dir", "file:///dir?endpoint=x"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), u); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
