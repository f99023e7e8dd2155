package commitlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// crashEach cuts the power after each operation of j from from on, with the unsynced rest lost, or kept by chance, and calls check with the directory that is left.
func crashEach(t *testing.T, j *vfs.Journal, from int, check func(when, path string, last bool)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, operations %d to %d", seed, from, j.Len())
	for n := from; n <= j.Len(); n++ {
		for way, rng := range []*rand.Rand{nil, rand.New(rand.NewPCG(seed, uint64(n))), rand.New(rand.NewPCG(seed, uint64(n+1<<20)))} {
			path := filepath.Join(t.TempDir(), "dir")
			if err := j.Crash(n, path, rng); err != nil {
				t.Fatal(err)
			}
			if check(fmt.Sprintf("operation %d, way %d", n, way), path, n == j.Len()); t.Failed() {
				return
			}
		}
	}
}

// crashable is a log of about a dozen segments, all durable and with their index files, in a journal.
func crashable(t *testing.T) (*vfs.Journal, *Dir, *Log) {
	t.Helper()
	if shm := "/dev/shm"; dirExists(shm) {
		t.Setenv("TMPDIR", shm) // thousands of syncs
	}
	root := t.TempDir()
	j := vfs.NewJournal(root)
	d := openDir(t, root, DirOptions{ClusterID: "c", NodeID: 1, FS: j.FS()})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range 40 {
		mustAppend(t, l, producerBatch{7, 0, int32(5 * i), 5, false}.build(), int32(i/20))
	}
	waitDurable(t, l)
	eventually(t, "index files", func() bool {
		for _, s := range l.Segments()[:l.Sealed()] {
			if !l.view.Load().segments[l.view.Load().find(s.BaseOffset)].sealedOnDisk() {
				return false
			}
		}
		return true
	})
	return j, d, l
}

// TestPowerLossUnderTrimming: DeleteRecords and retention drop segments, one after the other. Wherever the power fails, all that lies at or above the new log start, which
// Postgres knows, is there; so are the producer and the leader epochs, and nothing is left of a segment without its .log.
func TestPowerLossUnderTrimming(t *testing.T) {
	j, d, l := crashable(t)
	want, end := contents(t, l, 100, l.End()), l.End()
	from := j.Len()
	for _, start := range []int64{40, 103} {
		if err := l.SetLogStart(start); err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.DeleteBefore(start); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	crashEach(t, j, from, func(when, path string, last bool) {
		d := openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
		l := openLog(t, d, "topic-0", smallSegments())
		if err := l.SetLogStart(103); err != nil { // as Postgres has it
			t.Fatal(err)
		}
		if l.End() != end || !bytes.Equal(contents(t, l, 103, end), want) {
			t.Errorf("%s: the log ends at %d of %d, or has other bytes", when, l.End(), end)
		}
		if p := l.Producers(); len(p) != 1 || p[0].LastSequence != 199 {
			t.Errorf("%s: producers %+v", when, p)
		}
		if l.EpochAt(103) != 1 || last && l.LocalStart() != 103 {
			t.Errorf("%s: epoch %d at 103, local start %d", when, l.EpochAt(103), l.LocalStart())
		}
		mustAppend(t, l, plain(1, 1), 1)
		if err := d.Close(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		for name := range readFiles(t, l.path) {
			if base, ok := anyBase(name); ok && strings.HasSuffix(name, indexSuffix) && !vfs.OS().Exists(segmentPath(l.path, base, logSuffix)) {
				t.Errorf("%s: %s has no .log", when, name)
			}
		}
	})
}

// TestPowerLossUnderRemoval: a deleted partition is there whole, or not at all; a topic of the same name begins empty whatever is left.
func TestPowerLossUnderRemoval(t *testing.T) {
	j, d, l := crashable(t)
	want, end := contents(t, l, 0, l.End()), l.End()
	from := j.Len()
	if err := d.Remove(l); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	crashEach(t, j, from, func(when, path string, last bool) {
		d := openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
		defer d.Close()
		if last && d.Has("topic-0") {
			t.Errorf("%s: the partition is back", when)
		}
		if d.Has("topic-0") {
			l := openLog(t, d, "topic-0", smallSegments())
			if l.End() != end || !bytes.Equal(contents(t, l, 0, end), want) {
				t.Errorf("%s: half of the partition is there: it ends at %d", when, l.End())
			}
			if err := d.Remove(l); err != nil {
				t.Fatal(err)
			}
		}
		if l := openLog(t, d, "topic-0", smallSegments()); l.End() != 0 {
			t.Errorf("%s: the new topic begins at %d", when, l.End())
		}
	})
}

// TestPowerLossUnderReset: a log that is begun anew at an offset, as after an unclean election, is the old one or the new one.
func TestPowerLossUnderReset(t *testing.T) {
	j, d, l := crashable(t)
	want, end := contents(t, l, 0, l.End()), l.End()
	epochs, snapshot := []EpochEntry{{0, 0}, {5, 60}}, l.producers.encode()
	from := j.Len()
	if err := l.Reset(77, epochs, snapshot); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, producerBatch{7, 0, 200, 5, false}.build(), 5)
	waitDurable(t, l)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	crashEach(t, j, from, func(when, path string, last bool) {
		d := openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
		defer d.Close()
		l := openLog(t, d, "topic-0", smallSegments())
		switch {
		case l.LocalStart() == 77 && (l.End() == 77 || l.End() == 82) && l.EpochAt(77) <= 5: // the new one
			if last && (l.End() != 82 || len(l.Producers()) != 1) {
				t.Errorf("%s: ends at %d, producers %+v", when, l.End(), l.Producers())
			}
		case l.LocalStart() >= 0 && l.End() <= end && !last: // the old one, or what is left of it: Postgres still says that it is to be begun anew
			for rest := contents(t, l, l.LocalStart(), l.End()); len(rest) > 0; {
				b, after, err := record.Split(rest)
				if err != nil || !bytes.Contains(want, b) {
					t.Fatalf("%s: other bytes: %v", when, err)
				}
				rest = after
			}
		default:
			t.Errorf("%s: [%d, %d)", when, l.LocalStart(), l.End())
		}
	})
}
