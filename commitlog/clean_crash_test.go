package commitlog

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"varve/internal/vfs"
)

// TestPowerLossUnderCompaction cuts the power after every file operation of two passes of compaction: every key that was durable is there with its last value,
// nothing is there that was not written, and compaction goes on.
func TestPowerLossUnderCompaction(t *testing.T) {
	root, now := t.TempDir(), time.UnixMilli(1_700_000_000_000)
	j := vfs.NewJournal(root)
	d := openDir(t, root, DirOptions{ClusterID: "c", NodeID: 1, FS: j.FS()})
	l := openLog(t, d, "topic-0", compacted())
	rnd := rand.New(rand.NewPCG(4, 0))
	var all []item
	from := 0
	for range 2 {
		old := len(all)
		writeKeys(t, l, rnd, 40)
		waitDurable(t, l)
		for _, i := range items(t, l) {
			if old == 0 || i.offset > all[old-1].offset {
				all = append(all, i)
			}
		}
		if from == 0 {
			from = j.Len()
		}
		clean(t, l, now, 1<<20)
	}
	to, end := j.Len(), l.End()
	dirtyEnd := l.view.Load().active().base

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, operations %d to %d", seed, from, to)
	if shm := "/dev/shm"; dirExists(shm) {
		t.Setenv("TMPDIR", shm)
	}
	for n := from; n <= to; n++ {
		for way, rng := range []*rand.Rand{nil, rand.New(rand.NewPCG(seed, uint64(n))), rand.New(rand.NewPCG(seed, uint64(n+1<<20)))} {
			dir, err := os.MkdirTemp("", "varve-crash")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "dir")
			if err := j.Crash(n, path, rng); err != nil {
				t.Fatal(err)
			}
			when := fmt.Sprintf("operation %d, way %d", n, way)
			checkCompactionCrashed(t, when, path, all, n == to, end, dirtyEnd)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				return
			}
		}
	}
}

func checkCompactionCrashed(t *testing.T, when, path string, all []item, last bool, end, dirtyEnd int64) {
	t.Helper()
	d, err := OpenDir(path, DirOptions{ClusterID: "c", NodeID: 1})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Errorf("%s: close: %v", when, err)
		}
	}()
	l, err := d.OpenLog("topic-0", testTopic, compacted(), nil)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if last && l.End() != end {
		t.Errorf("%s: ends at %d, not %d", when, l.End(), end)
	}
	got := items(t, l)
	below := slices.DeleteFunc(slices.Clone(all), func(i item) bool { return i.offset >= l.End() })
	for _, want := range survivors(below, l.End(), false) {
		if !slices.Contains(got, want) {
			t.Fatalf("%s: %+v is lost", when, want)
		}
	}
	for i, have := range got {
		if !slices.Contains(all, have) || i > 0 && have.offset <= got[i-1].offset {
			t.Fatalf("%s: %+v was never written, or not there", when, have)
		}
	}
	mustAppend(t, l, plain(3, 1_600_000_000_000), 7)
	clean(t, l, time.UnixMilli(1_700_000_000_000), 1<<20)
	if left, _ := filepath.Glob(filepath.Join(l.path, "*.log.[cs]*")); len(left) > 0 {
		t.Errorf("%s: left: %v", when, left)
	}
}
