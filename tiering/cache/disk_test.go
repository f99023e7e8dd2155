package cache_test

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"varve/internal/vfs"
	"varve/tiering/cache"
)

const chunk = 1000 // bytes

// segment is the upload attempt whose chunks the tests keep.
var segment = uuid.MustParse("6b0f2b1e-6a2c-4c8f-9e0a-3f1d2c4b5a69")

func content(n int) []byte { return bytes.Repeat([]byte{byte(n)}, chunk) }

func open(t *testing.T, dir string, fs *vfs.FS) *cache.Disk {
	t.Helper()
	d, err := cache.Open(dir, cache.Options{Capacity: 3 * chunk, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fetched tells d twice that the bucket has brought chunk n.
func fetched(d *cache.Disk, n int) {
	d.Offer(cache.Key{Segment: segment, Chunk: n}, content(n))
	d.Offer(cache.Key{Segment: segment, Chunk: n}, content(n))
}

func has(t *testing.T, d *cache.Disk, n int) bool {
	t.Helper()
	data := d.Get(cache.Key{Segment: segment, Chunk: n}, chunk, crc32.Checksum(content(n), crc32.MakeTable(crc32.Castagnoli)))
	if data != nil && !bytes.Equal(data, content(n)) {
		t.Errorf("chunk %d holds other bytes", n)
	}
	return data != nil
}

// TestKeepsWhatCameTwice: what was fetched once is not written, what was fetched twice is, and a restart finds it.
func TestKeepsWhatCameTwice(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	d.Offer(cache.Key{Segment: segment, Chunk: 1}, content(1))
	fetched(d, 2)
	d.Close()
	d = open(t, dir, nil)
	defer d.Close()
	if has(t, d, 1) || !has(t, d, 2) || d.Bytes() != chunk {
		t.Errorf("chunk 1: %t, chunk 2: %t, %d bytes", has(t, d, 1), has(t, d, 2), d.Bytes())
	}
}

// TestBounded: the files never hold more than the capacity, and those go that were not used for longest.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	for n := 1; n <= 3; n++ {
		d := open(t, dir, nil)
		fetched(d, n)
		d.Close()
		older := int64(n) * 1e9
		path := filepath.Join(dir, names(t, dir)[n-1])
		if err := syscall.UtimesNano(path, []syscall.Timespec{syscall.NsecToTimespec(older), syscall.NsecToTimespec(older)}); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, dir, nil)
	has(t, d, 1) // a use
	fetched(d, 4)
	d.Close()
	d = open(t, dir, nil)
	defer d.Close()
	for n, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if got := has(t, d, n); got != want {
			t.Errorf("chunk %d kept: %t, want %t", n, got, want)
		}
	}
	if d.Bytes() != 3*chunk || len(names(t, dir)) != 3 {
		t.Errorf("%d bytes in %v", d.Bytes(), names(t, dir))
	}
}

// TestDamagedFiles: a torn file, flipped bits, leftovers of a crash and strangers cost nothing but their place.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	fetched(d, 1)
	fetched(d, 2)
	d.Close()
	for i, name := range names(t, dir) {
		data := content(i + 1)
		if i == 0 {
			data = data[:chunk/2]
		} else {
			data[chunk/2] ^= 1
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{segment.String() + "-3.tmp", "stranger", segment.String() + "-007.chunk"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d = open(t, dir, nil)
	defer d.Close()
	if has(t, d, 1) || has(t, d, 2) || d.Bytes() != 0 || len(names(t, dir)) != 0 {
		t.Errorf("%d bytes in %v", d.Bytes(), names(t, dir))
	}
}

// TestFullDisk: a write that fails leaves no file behind, and what is there is still read.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	fetched(d, 1)
	d.Close()
	d = open(t, dir, vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.Write {
			return syscall.ENOSPC
		}
		return nil
	}))
	fetched(d, 2)
	d.Close()
	if !has(t, d, 1) || has(t, d, 2) || len(names(t, dir)) != 1 {
		t.Errorf("left: %v", names(t, dir))
	}
}

// TestNone: no cache is a cache that holds nothing.
func TestNone(t *testing.T) {
	var d *cache.Disk
	fetched(d, 1)
	if has(t, d, 1) || d.Bytes() != 0 {
		t.Error("it holds something")
	}
	d.Close()
}

// names lists the files in dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestSeveralOfASegment: file names keep chunks apart.
func TestSeveralOfASegment(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	fetched(d, 1)
	fetched(d, 11)
	d.Close()
	if got := strings.Join(names(t, dir), " "); got != segment.String()+"-1.chunk "+segment.String()+"-11.chunk" {
		t.Error(got)
	}
}
