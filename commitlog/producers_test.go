package commitlog

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
)

const future = int64(4000000000000) // a timestamp whose producers do not expire

type producerBatch struct {
	id            int64
	epoch         int16
	sequence      int32
	n             int
	transactional bool
}

func (p producerBatch) build() record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = p.id, p.epoch, p.sequence, p.transactional
	for range p.n {
		b.Add(future, []byte("k"), []byte("v"))
	}
	return b.Build()
}

// TestIdempotence tells Kafka's table of sequence checks as one story of a partition; the log is opened again in between.
func TestIdempotence(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", DefaultConfig())
	reopen := func() {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = openDir(t, path, DirOptions{NodeID: 1})
		l = openLog(t, d, "topic-0", DefaultConfig())
	}
	for _, s := range []struct {
		what   string
		b      producerBatch
		err    *kerr.Error
		base   int64
		dup    bool
		reopen bool
	}{
		{what: "first batch", b: producerBatch{id: 1, sequence: 0, n: 3}, base: 0},
		{what: "the next", b: producerBatch{id: 1, sequence: 3, n: 2}, base: 3},
		{what: "sent again", b: producerBatch{id: 1, sequence: 3, n: 2}, base: 3, dup: true},
		{what: "the one before again", b: producerBatch{id: 1, sequence: 0, n: 3}, base: 0, dup: true},
		{what: "same first, other last sequence", b: producerBatch{id: 1, sequence: 3, n: 1}, err: kerr.OutOfOrderSequenceNumber},
		{what: "a gap", b: producerBatch{id: 1, sequence: 6, n: 1}, err: kerr.OutOfOrderSequenceNumber},
		{what: "an unknown producer may begin anywhere", b: producerBatch{id: 2, sequence: 40, n: 1}, base: 5},
		{what: "a new epoch must begin with 0", b: producerBatch{id: 1, epoch: 1, sequence: 5, n: 1}, err: kerr.OutOfOrderSequenceNumber},
		{what: "a new epoch", b: producerBatch{id: 1, epoch: 1, sequence: 0, n: 1}, base: 6},
		{what: "the old epoch", b: producerBatch{id: 1, epoch: 0, sequence: 5, n: 1}, err: kerr.InvalidProducerEpoch},
		{what: "the old epoch's batch is forgotten", b: producerBatch{id: 1, epoch: 0, sequence: 3, n: 2}, err: kerr.InvalidProducerEpoch},
		{what: "sequences wrap", b: producerBatch{id: 3, sequence: math.MaxInt32, n: 1}, base: 7},
		{what: "to 0", b: producerBatch{id: 3, sequence: 0, n: 1}, base: 8},
		{what: "within a batch", b: producerBatch{id: 4, sequence: math.MaxInt32 - 1, n: 4}, base: 9},
		{what: "and go on", b: producerBatch{id: 4, sequence: 2, n: 1}, base: 13},
		{what: "the wrapped batch again", b: producerBatch{id: 4, sequence: math.MaxInt32 - 1, n: 4}, base: 9, dup: true},
		{what: "the last batch survives a restart", b: producerBatch{id: 4, sequence: 2, n: 1}, base: 13, dup: true, reopen: true},
		{what: "the one before it does not", b: producerBatch{id: 4, sequence: math.MaxInt32 - 1, n: 4}, err: kerr.OutOfOrderSequenceNumber},
		{what: "after the restart", b: producerBatch{id: 4, sequence: 3, n: 1}, base: 14},
	} {
		if s.reopen {
			reopen()
		}
		end := l.End()
		a, err := l.Append(s.b.build(), 0, time.Now())
		if s.err != nil {
			if !errors.Is(err, s.err) || l.End() != end {
				t.Fatalf("%s: %v, not %v; the end moved by %d", s.what, err, s.err, l.End()-end)
			}
			continue
		}
		if err != nil || a.BaseOffset != s.base || a.Duplicate != s.dup || a.LastOffset != s.base+int64(s.b.n)-1 {
			t.Fatalf("%s: %+v, %v", s.what, a, err)
		}
	}
}

func TestFiveBatchesAreRemembered(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", DefaultConfig())
	for i := range int32(6) {
		mustAppend(t, l, producerBatch{id: 1, sequence: i, n: 1}.build(), 0)
	}
	for i := range int32(6) {
		a, err := l.Append(producerBatch{id: 1, sequence: i, n: 1}.build(), 0, time.Now())
		if i == 0 && !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			t.Fatalf("the sixth last batch: %+v, %v", a, err)
		}
		if i > 0 && (err != nil || !a.Duplicate || a.BaseOffset != int64(i)) {
			t.Fatalf("batch %d again: %+v, %v", i, a, err)
		}
	}
}

func TestProducersExpire(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, l, producerBatch{id: 1, sequence: 0, n: 1}.build(), 0)
	mustAppend(t, l, producerBatch{id: 2, sequence: 0, n: 1, transactional: true}.build(), 0)
	later := time.UnixMilli(future).Add(24 * time.Hour)
	if _, err := l.Append(producerBatch{id: 1, sequence: 9, n: 1}.build(), 0, later); err != nil {
		t.Fatalf("an expired producer may begin anywhere: %v", err)
	}
	if p := l.Producers(); len(p) != 2 {
		t.Fatalf("a producer with an open transaction expired: %+v", p)
	}
}

func marker(id int64, epoch int16, commit bool, coordinatorEpoch int32) record.Batch {
	return record.NewMarker(id, epoch, record.Marker{Commit: commit, CoordinatorEpoch: coordinatorEpoch}, future)
}

func checkAborted(t *testing.T, l *Log, when string, from, upTo int64, want []AbortedTxn) {
	t.Helper()
	if got, err := l.Aborted(from, upTo); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%s: aborted in [%d, %d): %+v, %v; not %+v", when, from, upTo, got, err, want)
	}
}

// TestTransactions interleaves three producers and checks the first unstable offset and the aborted transactions, then again after a restart,
// after a crash, and after the marker is truncated away.
func TestTransactions(t *testing.T) {
	path := t.TempDir()
	cfg := DefaultConfig()
	cfg.SegmentBytes = 250
	d := openDir(t, path, DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", cfg)
	txn := func(id int64, sequence int32) { mustAppend(t, l, producerBatch{id, 0, sequence, 2, true}.build(), 0) }
	unstable := func(want int64) {
		t.Helper()
		if got, ok := l.FirstUnstable(); ok != (want >= 0) || ok && got != want {
			t.Fatalf("first unstable offset %d, %v, not %d", got, ok, want)
		}
	}
	unstable(-1)
	txn(1, 0) // 0-1
	unstable(0)
	txn(2, 0)                                   // 2-3
	mustAppend(t, l, marker(1, 0, false, 1), 0) // 4
	unstable(2)                                 // producer 2's
	txn(1, 2)                                   // 5-6
	mustAppend(t, l, marker(2, 0, false, 1), 0) // 7
	mustAppend(t, l, marker(1, 0, true, 1), 0)  // 8
	mustAppend(t, l, marker(1, 0, false, 1), 0) // 9: nothing open, nothing aborted
	mustAppend(t, l, marker(2, 1, false, 1), 0) // 10: raises the epoch
	unstable(-1)
	if _, err := l.Append(marker(1, 0, true, 0), 0, time.Now()); !errors.Is(err, kerr.TransactionCoordinatorFenced) {
		t.Fatalf("marker of an old coordinator: %v", err)
	}
	if _, err := l.Append(marker(2, 0, true, 1), 0, time.Now()); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Fatalf("marker of an old epoch: %v", err)
	}
	txn(3, 0) // 11-12, stays open
	if _, err := l.Append(producerBatch{id: 3, sequence: 2, n: 1}.build(), 0, time.Now()); !errors.Is(err, kerr.InvalidTxnState) {
		t.Fatalf("a batch outside of the open transaction: %v", err)
	}
	want := []AbortedTxn{{1, 0, 4, 2}, {2, 2, 7, 5}}
	check := func(when string) {
		t.Helper()
		checkAborted(t, l, when, 0, 13, want)
		checkAborted(t, l, when, 0, 1, want[:1])
		checkAborted(t, l, when, 5, 13, want[1:])
		checkAborted(t, l, when, 8, 13, nil)
		checkAborted(t, l, when, 4, 5, want)
		unstable(11)
	}
	check("live")
	if len(l.Segments()) < 3 {
		t.Fatalf("%d segments", len(l.Segments()))
	}
	for _, when := range []string{"restarted", "crashed"} {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if when == "crashed" {
			for _, name := range []string{cleanName, recoveryPointName} {
				if err := os.Remove(filepath.Join(path, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		d = openDir(t, path, DirOptions{NodeID: 1})
		l = openLog(t, d, "topic-0", cfg)
		check(when)
	}
	if err := l.TruncateTo(7); err != nil {
		t.Fatal(err)
	}
	unstable(2)
	if got, err := l.Aborted(0, 7); err != nil || len(got) != 1 || got[0] != want[0] {
		t.Fatalf("aborted after the truncation: %+v, %v", got, err)
	}
	mustAppend(t, l, marker(2, 0, false, 1), 0) // 7 again
	unstable(5)
}
