package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/vfs"
)

// TestFullDisk: the append is refused, its torn half is cut off, and appends work again when there is space.
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	disk := vfs.Hooked(func(op vfs.Op) error {
		if full.Load() && (op.Kind == vfs.Write || op.Kind == vfs.Create) {
			return syscall.ENOSPC
		}
		return nil
	})
	path := t.TempDir()
	cfg := DefaultConfig()
	cfg.SegmentBytes = 1500
	d := openDir(t, path, DirOptions{NodeID: 1, FS: disk, Failed: func(err error) { t.Errorf("a full disk failed the directory: %v", err) }})
	l := openLog(t, d, "topic-0", cfg)
	var want []byte
	write := func() {
		t.Helper()
		b := plain(5, 1)
		mustAppend(t, l, b, 1)
		want = append(want, b...)
	}
	write()
	for range 5 { // at the end of a segment rolling is refused, before it writing
		full.Store(true)
		if _, err := l.Append(plain(5, 1), 1, time.Now()); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("append on a full disk: %v", err)
		}
		full.Store(false)
		write()
	}
	waitDurable(t, l)
	if got := contents(t, l, 0, l.End()); !bytes.Equal(got, want) {
		t.Fatal("other bytes than those acknowledged")
	}
}

// TestTornWriteIsCutOff has half of a batch written before the disk is full.
func TestTornWriteIsCutOff(t *testing.T) {
	var torn atomic.Bool
	raw := vfs.OS()
	disk := vfs.Hooked(func(op vfs.Op) error {
		if !torn.Load() || op.Kind != vfs.Write || !strings.HasSuffix(op.Path, logSuffix) {
			return nil
		}
		f, err := raw.OpenWrite(op.Path)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(op.Data[:len(op.Data)/2], op.Offset)
		return errors.Join(err, f.Close(), syscall.ENOSPC)
	})
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: disk})
	l := openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, l, plain(5, 1), 1)
	size := l.Size()
	torn.Store(true)
	if _, err := l.Append(plain(5, 1), 1, time.Now()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("append: %v", err)
	}
	torn.Store(false)
	info, err := raw.Stat(segmentPath(l.path, 0, logSuffix))
	if err != nil || info.Size() != size {
		t.Fatalf("%d bytes in the file, %d in the log, %v", info.Size(), size, err)
	}
	mustAppend(t, l, plain(5, 1), 1)
}

// TestFailedSyncIsNeverTriedAgain: nothing more becomes durable, appends are refused, the owner is told once, reads go on, and no
// clean-shutdown marker is left.
func TestFailedSyncIsNeverTriedAgain(t *testing.T) {
	var broken atomic.Bool
	var syncs, told atomic.Int32
	disk := vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.Sync && broken.Load() {
			syncs.Add(1)
			return syscall.EIO
		}
		return nil
	})
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1, FS: disk, Failed: func(err error) {
		told.Add(1)
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("failed with %v", err)
		}
	}})
	l := openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, l, plain(5, 1), 1)
	waitDurable(t, l)
	durable := l.Durable()
	broken.Store(true)
	mustAppend(t, l, plain(5, 1), 1)
	eventually(t, "the owner is told", func() bool { return told.Load() == 1 })
	if _, err := l.Append(plain(5, 1), 1, time.Now()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("append after a failed sync: %v", err)
	}
	if l.Durable() != durable {
		t.Fatalf("durable end %d after a failed sync, %d before", l.Durable(), durable)
	}
	if b := contents(t, l, 0, durable); len(b) == 0 {
		t.Fatal("nothing to read")
	}
	broken.Store(false)
	if err := d.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("close: %v", err)
	}
	if syncs.Load() != 1 || told.Load() != 1 {
		t.Fatalf("%d syncs after the failure, told %d times", syncs.Load(), told.Load())
	}
	d = openDir(t, path, DirOptions{NodeID: 1})
	if d.Clean() {
		t.Fatal("a failed directory was marked clean")
	}
}

// TestGroupCommit: appends during a sync join the next one, and a quiet directory makes no system calls.
func TestGroupCommit(t *testing.T) {
	var syncs atomic.Int32
	gate := make(chan struct{})
	var holding atomic.Bool
	disk := vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.Sync && holding.Load() {
			syncs.Add(1)
			<-gate
		}
		return nil
	})
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: disk})
	l := openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, l, plain(1, 1), 1)
	waitDurable(t, l)
	holding.Store(true)
	mustAppend(t, l, plain(1, 1), 1)
	eventually(t, "a sync begins", func() bool { return syncs.Load() == 1 })
	for range 100 {
		mustAppend(t, l, plain(1, 1), 1)
	}
	if l.Durable() != 1 {
		t.Fatalf("durable end %d while the sync is held", l.Durable())
	}
	gate <- struct{}{}
	eventually(t, "the first append is durable and a second sync begins", func() bool { return syncs.Load() == 2 })
	if l.Durable() != 2 {
		t.Fatalf("durable end %d: the sync covers what was appended before it", l.Durable())
	}
	gate <- struct{}{}
	waitDurable(t, l)
	holding.Store(false)
	if syncs.Load() != 2 {
		t.Fatalf("%d syncs for 101 appends", syncs.Load())
	}
}

// TestASlowDisk: with a disk that takes 300 ms to sync, appends and reads do not wait, and many logs become durable together, not one after the other.
func TestASlowDisk(t *testing.T) {
	const logs, sync = 40, 300 * time.Millisecond
	var slow atomic.Bool
	disk := vfs.Hooked(func(op vfs.Op) error {
		if slow.Load() && (op.Kind == vfs.Sync || op.Kind == vfs.SyncAll) {
			<-time.After(sync)
		}
		return nil
	})
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: disk})
	var all []*Log
	for i := range logs {
		all = append(all, openLog(t, d, fmt.Sprint("topic-", i), DefaultConfig()))
	}
	slow.Store(true)
	defer slow.Store(false)
	start := time.Now()
	for _, l := range all {
		mustAppend(t, l, plain(5, 1), 1)
		if b := contents(t, l, 0, l.End()); len(b) == 0 || l.Durable() != 0 {
			t.Fatalf("%d bytes are readable, the durable end is %d", len(b), l.Durable())
		}
	}
	if took := time.Since(start); took > sync {
		t.Errorf("%d appends took %v: they waited for the disk", logs, took)
	}
	for _, l := range all {
		waitDurable(t, l)
	}
	if took := time.Since(start); took > logs/3*sync {
		t.Errorf("%d logs were durable after %v: one after the other", logs, took)
	}
}
