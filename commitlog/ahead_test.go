package commitlog

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// trickle appends batches of about 1 KiB to l until it has at least size bytes, each durable before the next.
func trickle(t *testing.T, l *Log, size int64) {
	t.Helper()
	for l.Size() < size {
		mustAppend(t, l, record.NewBuilder().Add(1, nil, bytes.Repeat([]byte("x"), 1024)).Build(), 0)
		waitDurable(t, l)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestZerosAhead: a log that is synced often for a little has zeros behind its end, which readers, a roll, a clean stop and a kill do not show.
func TestZerosAhead(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", DefaultConfig())
	first := l.view.Load().active()
	trickle(t, l, 100<<10)
	if size := fileSize(t, first.path(logSuffix)); size != l.Size() {
		t.Fatalf("a file of %d bytes for %d: a small log is to take no more space than it has bytes", size, l.Size())
	}
	trickle(t, l, 200<<10)
	if size := fileSize(t, first.path(logSuffix)); size <= l.Size() {
		t.Fatalf("a file of %d bytes for %d: no zeros ahead", size, l.Size())
	}
	want := contents(t, l, 0, l.End())
	if int64(len(want)) != l.Size() {
		t.Fatalf("%d bytes are served of %d", len(want), l.Size())
	}

	killed := t.TempDir() // what kill -9 leaves
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	d2 := openDir(t, killed, DirOptions{NodeID: 1, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	l2 := openLog(t, d2, "topic-0", DefaultConfig())
	if got := contents(t, l2, 0, l2.End()); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes after a kill, %d before", len(got), len(want))
	}
	if strings.Contains(logged.String(), "cut") {
		t.Fatalf("zeros ahead are no damage: %s", logged.String())
	}

	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if size := fileSize(t, first.path(logSuffix)); size != int64(len(want)) {
		t.Fatalf("the sealed file has %d bytes of %d", size, len(want))
	}
	trickle(t, l, 400<<10)
	active := l.view.Load().active()
	if fileSize(t, active.path(logSuffix)) <= active.size() {
		t.Fatal("no zeros ahead in the second segment")
	}
	want = contents(t, l, 0, l.End())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if size := fileSize(t, active.path(logSuffix)); size != active.size() {
		t.Fatalf("after a clean stop the file has %d bytes of %d", size, active.size())
	}
	l = openLog(t, openDir(t, dir, DirOptions{NodeID: 1}), "topic-0", DefaultConfig())
	if got := contents(t, l, 0, l.End()); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes after a clean stop, %d before", len(got), len(want))
	}
	trickle(t, l, 500<<10)
}

// TestNoZerosAheadOfBulk: where each sync has much to write, or none is made, zeros would only be written for nothing.
func TestNoZerosAheadOfBulk(t *testing.T) {
	for _, durability := range []Durability{Fsync, Async} {
		d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, Durability: durability})
		l := openLog(t, d, "topic-0", DefaultConfig())
		b := record.NewBuilder().Add(1, nil, bytes.Repeat([]byte("x"), 64<<10)).Build()
		for range 20 {
			mustAppend(t, l, b, 0)
			if durability == Fsync {
				waitDurable(t, l)
			}
		}
		if size := fileSize(t, l.view.Load().active().path(logSuffix)); size != l.Size() {
			t.Errorf("durability %v: a file of %d bytes for %d", durability, size, l.Size())
		}
	}
}

// TestZerosAheadOfAFullDisk: no space for zeros is none of a producer's business; a disk that fails at them is.
func TestZerosAheadOfAFullDisk(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		refused := 0
		fsys := vfs.Hooked(func(op vfs.Op) error {
			if op.Kind == vfs.Write && len(op.Data) == len(zeros) {
				refused++
				return errno
			}
			return nil
		})
		d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: fsys})
		l := openLog(t, d, "topic-0", DefaultConfig())
		for l.Size() < 400<<10 && d.Failure() == nil {
			mustAppend(t, l, record.NewBuilder().Add(1, nil, bytes.Repeat([]byte("x"), 8<<10)).Build(), 0)
			eventually(t, "durable or failed", func() bool { return d.Failure() != nil || l.Durable() == l.End() })
		}
		if refused == 0 {
			t.Fatal("no zeros were written")
		}
		if failed := d.Failure() != nil; failed != (errno == syscall.EIO) {
			t.Errorf("%v: failure %v", errno, d.Failure())
		}
		if errno == syscall.ENOSPC {
			if size := fileSize(t, l.view.Load().active().path(logSuffix)); size != l.Size() {
				t.Errorf("a file of %d bytes for %d", size, l.Size())
			}
		} else if err := d.Failure(); !errors.Is(err, errno) {
			t.Errorf("failure %v", err)
		}
	}
}
