package commitlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"varve/internal/vfs"
)

// openSegments counts the .log files below path that this process has open.
func openSegments(t *testing.T, path string) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Skip("no /proc to count open files in")
	}
	for _, fd := range fds {
		if at, err := os.Readlink(fd); err == nil && strings.HasPrefix(at, path) && strings.HasSuffix(at, logSuffix) {
			n++
		}
	}
	return n
}

// TestOpenFilesAreBounded: a log that was only opened costs no descriptor, and of many that are written no more stay open than the limit once they are durable;
// but none is closed before: an error of a late write would be told to nobody.
func TestOpenFilesAreBounded(t *testing.T) {
	const logs, limit = 100, 10
	path := t.TempDir()
	var holding atomic.Bool
	release := make(chan struct{})
	fs := vfs.Hooked(func(op vfs.Op) error {
		if holding.Load() && (op.Kind == vfs.Sync || op.Kind == vfs.SyncAll) {
			<-release
		}
		return nil
	})
	open := func() (d *Dir, out []*Log) {
		d = openDir(t, path, DirOptions{NodeID: 1, FS: fs})
		d.files.limit = limit
		for i := range logs {
			out = append(out, openLog(t, d, fmt.Sprint("topic-", i), smallSegments()))
		}
		return d, out
	}
	d, all := open()
	if n := openSegments(t, path); n > limit {
		t.Errorf("%d files are open of %d new logs", n, logs)
	}
	for round := range 30 { // over several segments
		for _, l := range all {
			mustAppend(t, l, plain(5, int64(round)), 1)
		}
	}
	for _, l := range all {
		waitDurable(t, l)
	}
	mustAppend(t, all[0], plain(5, 1), 1)
	eventually(t, "few open files", func() bool { return openSegments(t, path) <= limit+1 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := openSegments(t, path); n > 0 {
		t.Errorf("%d files are open after Close", n)
	}

	_, all = open()
	if n := openSegments(t, path); n > 0 {
		t.Errorf("%d files are open of %d logs that nobody wrote", n, logs)
	}
	holding.Store(true)
	for _, l := range all {
		mustAppend(t, l, plain(5, 1), 1)
	}
	if n := openSegments(t, path); n < logs {
		t.Errorf("%d files are open of %d that are not durable", n, logs)
	}
	holding.Store(false)
	close(release)
	for _, l := range all {
		waitDurable(t, l)
	}
	for i, l := range all {
		if want := int64(31 * 5); l.End() != want && i > 0 {
			t.Errorf("log %d ends at %d, not %d", i, l.End(), want)
		}
	}
}

// TestWhatAKilledProcessWroteIsMadeDurable: after an unclean shutdown records are only in the page cache, perhaps. They do not count as durable before the file system was told
// to write them.
func TestWhatAKilledProcessWroteIsMadeDurable(t *testing.T) {
	l := onDisk(t, nil)
	path := l.dir.path
	if err := l.dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, cleanName)); err != nil {
		t.Fatal(err)
	}
	var syncs atomic.Int32
	d := openDir(t, path, DirOptions{NodeID: 1, FS: vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.SyncAll || op.Kind == vfs.Sync && strings.HasSuffix(op.Path, logSuffix) {
			syncs.Add(1)
		}
		return nil
	})})
	again := openLog(t, d, "topic-0", smallSegments())
	eventually(t, "durable records", func() bool { return again.Durable() == again.End() })
	if again.End() == 0 || syncs.Load() == 0 {
		t.Errorf("%d records count as durable, and nothing was synced", again.End())
	}
}
