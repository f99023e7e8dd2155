package commitlog

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"varve/internal/vfs"
)

// heldDisk holds the first sync of a file with this suffix until release is closed.
func heldDisk(suffix string) (disk *vfs.FS, began, release chan struct{}) {
	began, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	disk = vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.Sync && strings.HasSuffix(op.Path, suffix) {
			first := false
			once.Do(func() { first = true })
			if first {
				close(began)
				<-release
			}
		}
		return nil
	})
	return disk, began, release
}

// TestRolledSegmentsAreSynced: what was appended before a roll is made durable with what was appended after it.
func TestRolledSegmentsAreSynced(t *testing.T) {
	disk, began, release := heldDisk("busy-0/00000000000000000000.log")
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: disk})
	busy, l := openLog(t, d, "busy-0", DefaultConfig()), openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, busy, plain(1, 1), 1)
	<-began // the syncer is at work elsewhere
	mustAppend(t, l, plain(1, 1), 1)
	old := l.view.Load().active()
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain(1, 1), 1)
	s := l.sample()
	if s.end != 2 || len(s.rolled) != 1 || s.rolled[0] != old || s.active == old {
		t.Errorf("the end %d would be published after syncing %d rolled segments", s.end, len(s.rolled))
	}
	close(release)
}

// TestTruncationVoidsASyncThatIsUnderWay: its sample lies beyond the end.
func TestTruncationVoidsASyncThatIsUnderWay(t *testing.T) {
	disk, began, release := heldDisk("topic-0/00000000000000000000.log")
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, FS: disk})
	var greatest atomic.Int64
	l, err := d.OpenLog("topic-0", testTopic, DefaultConfig(), func(end int64) { greatest.Store(max(greatest.Load(), end)) })
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain(10, 1), 1)
	<-began
	if err := l.TruncateTo(0); err != nil {
		t.Fatal(err)
	}
	close(release)
	mustAppend(t, l, plain(3, 1), 2)
	waitDurable(t, l)
	if l.Durable() != 3 || greatest.Load() != 3 {
		t.Fatalf("durable end %d, the greatest told %d", l.Durable(), greatest.Load())
	}
}

// TestIndexFollowsItsLog: also without fsync for acknowledgements, an .index is written only when its .log is durable.
func TestIndexFollowsItsLog(t *testing.T) {
	root := t.TempDir()
	var mu sync.Mutex
	synced := map[string]bool{} // .log files without a write since their last sync
	indexes := 0
	disk := vfs.Hooked(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch log := strings.HasSuffix(op.Path, logSuffix); {
		case log && op.Kind == vfs.Write:
			synced[op.Path] = false
		case log && op.Kind == vfs.Sync:
			synced[op.Path] = true
		case op.Kind == vfs.Rename && strings.HasSuffix(op.To, indexSuffix) && !strings.HasSuffix(op.To, timeSuffix):
			indexes++
			if path := strings.TrimSuffix(op.To, indexSuffix) + logSuffix; !synced[path] {
				t.Errorf("%s is written before its .log is durable", op.To)
			}
		}
		return nil
	})
	d := openDir(t, root, DirOptions{NodeID: 1, FS: disk, Durability: Async})
	l := openLog(t, d, "topic-0", smallSegments())
	for range 20 {
		mustAppend(t, l, plain(5, 1), 1)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if indexes < 5 {
		t.Fatalf("%d indexes", indexes)
	}
}
