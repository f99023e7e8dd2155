package commitlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// crashEvent is something that the test knows to be true from the n-th file operation on.
type crashEvent struct {
	n        int
	batch    record.Batch // appended
	truncate int64        // -1: no
	durable  int64        // -1: no
}

// crashModel is what the log may and must hold after some of the events.
type crashModel struct {
	batches []record.Batch
	durable int64
}

func modelAt(events []crashEvent, n int) (m crashModel) {
	for _, e := range events {
		if e.n > n {
			break
		}
		switch {
		case e.batch != nil:
			m.batches = append(m.batches, e.batch)
		case e.truncate >= 0:
			m.durable = min(m.durable, e.truncate)
			m.batches = slices.DeleteFunc(slices.Clone(m.batches), func(b record.Batch) bool { return b.LastOffset() >= e.truncate })
		default:
			m.durable = max(m.durable, e.durable)
		}
	}
	return m
}

// crashRun drives one log over a journal and notes what happens when.
type crashRun struct {
	t      *testing.T
	j      *vfs.Journal
	l      *Log
	mu     sync.Mutex
	events []crashEvent
	seq    int32
}

func (r *crashRun) note(e crashEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.n = r.j.Len()
	r.events = append(r.events, e)
}

func (r *crashRun) append(n int, epoch int32) {
	r.t.Helper()
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = 9, 0, r.seq
	for i := range n {
		b.Add(1600000000000+int64(r.seq)+int64(i), nil, fmt.Appendf(nil, "record %d: a varve is a yearly layer of sediment", r.seq+int32(i)))
	}
	r.seq += int32(n)
	batch := b.Build()
	batch.SetBaseOffset(r.l.End())
	batch.SetLeaderEpoch(epoch)
	r.note(crashEvent{batch: slices.Clone(batch), truncate: -1})
	mustAppend(r.t, r.l, batch, epoch)
}

func (r *crashRun) truncate(offset int64) {
	r.t.Helper()
	r.note(crashEvent{truncate: offset})
	if err := r.l.TruncateTo(offset); err != nil {
		r.t.Fatal(err)
	}
	infos := r.l.Producers()
	r.seq = infos[0].LastSequence + 1
}

// TestPowerLossAtAnyOperation cuts the power after every file operation of a story with rolls, new leaders, truncations and a clean stop,
// with the unsynced rest lost, kept, or torn by chance. Whatever was durable must be there, and the log must go on.
func TestPowerLossAtAnyOperation(t *testing.T) {
	t.Run("fdatasync", func(t *testing.T) { testPowerLoss(t, false, aheadDefault) })
	t.Run("syncfs", func(t *testing.T) { testPowerLoss(t, true, aheadDefault) })
	t.Run("zeros ahead", func(t *testing.T) { testPowerLoss(t, false, aheadRule{bytes: 400}) })
}

func testPowerLoss(t *testing.T, syncWhole bool, ahead aheadRule) {
	root := t.TempDir()
	r := &crashRun{t: t, j: vfs.NewJournal(root)}
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.ProducerIDExpiration = 1500, 200, 1<<62
	d := openDir(t, root, DirOptions{ClusterID: "c", NodeID: 1, FS: r.j.FS()})
	d.ahead = ahead
	if syncWhole {
		d.syncer.cost = syncCost{each: 1e9, from: 1}
	}
	var err error
	r.l, err = d.OpenLog("topic-0", testTopic, cfg, func(end int64) { r.note(crashEvent{truncate: -1, durable: end}) })
	if err != nil {
		t.Fatal(err)
	}
	for epoch := range int32(3) {
		if err := r.l.BecomeLeader(epoch); err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			r.append(1+i%4, epoch)
			if i%3 == 2 {
				waitDurable(t, r.l)
			}
		}
		if epoch < 2 {
			r.truncate(r.l.End() - 20)
		}
	}
	if err := d.writeCheckpoints(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r.append(2, 2)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	end := r.l.End()
	r.note(crashEvent{truncate: -1, durable: end})

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d operations", seed, r.j.Len())
	if shm := "/dev/shm"; dirExists(shm) {
		t.Setenv("TMPDIR", shm) // thousands of syncs
	}
	for n := 0; n <= r.j.Len(); n++ {
		m := modelAt(r.events, n)
		for i, rng := range []*rand.Rand{nil, rand.New(rand.NewPCG(seed, uint64(n))), rand.New(rand.NewPCG(seed, uint64(n+1<<20)))} {
			to, err := os.MkdirTemp("", "varve-crash")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(to, "dir")
			if err := r.j.Crash(n, path, rng); err != nil {
				t.Fatal(err)
			}
			checkCrashed(t, fmt.Sprintf("operation %d, way %d", n, i), path, cfg, m)
			if err := os.RemoveAll(to); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				return
			}
		}
	}
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func checkCrashed(t *testing.T, when, path string, cfg Config, m crashModel) {
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
	l, err := d.OpenLog("topic-0", testTopic, cfg, nil)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if l.End() < m.durable {
		t.Fatalf("%s: the log ends at %d, %d was durable", when, l.End(), m.durable)
	}
	got := contents(t, l, 0, l.End())
	var want []byte
	for _, b := range m.batches {
		if b.LastOffset() < m.durable {
			want = append(want, b...)
		}
	}
	if !bytes.HasPrefix(got, want) {
		t.Fatalf("%s: durable records changed", when)
	}
	var last record.Batch
	for rest := got; len(rest) > 0; {
		if last, rest, err = record.Split(rest); err != nil || !last.CheckCRC() {
			t.Fatalf("%s: a damaged batch is served: %v", when, err)
		}
		if e := l.EpochAt(last.BaseOffset()); e != last.LeaderEpoch() {
			t.Fatalf("%s: epoch of offset %d is %d, not %d: %v", when, last.BaseOffset(), e, last.LeaderEpoch(), l.Epochs())
		}
	}
	if last != nil {
		if p := l.Producers(); len(p) != 1 || p[0].LastSequence != last.LastSequence() {
			t.Fatalf("%s: producers %+v, the last batch ends with sequence %d", when, p, last.LastSequence())
		}
	}
	mustAppend(t, l, plain(3, 1700000000000), 7)
	waitDurable(t, l)
}
