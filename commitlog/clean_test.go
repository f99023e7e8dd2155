package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"varve/commitlog/record"
)

// compacted is the configuration of a small compacted log.
func compacted() Config {
	cfg := smallSegments()
	cfg.SegmentBytes, cfg.ProducerIDExpiration = 2000, 1<<62
	cfg.Compaction = Compaction{MinDirtyRatio: 0, DeleteRetention: time.Hour}
	return cfg
}

// clean runs one pass over everything sealed, at now.
func clean(t testing.TB, l *Log, now time.Time, mapBytes int64) Cleaned {
	t.Helper()
	waitDurable(t, l)
	eventually(t, "index files", func() bool {
		v := l.view.Load()
		return !slices.ContainsFunc(v.segments[:len(v.segments)-1], func(s *segment) bool { return !s.sealedOnDisk() })
	})
	done, err := l.Clean(l.Dirty(l.End(), now), CleanOptions{Now: now, MapBytes: mapBytes})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// item is a record as a consumer sees it.
type item struct {
	offset, timestamp int64
	key, value        string
	tombstone         bool
}

// items reads all records of a log but the aborted ones and the markers.
func items(t testing.TB, l *Log) (out []item) {
	t.Helper()
	aborted, err := l.Aborted(0, l.End())
	if err != nil {
		t.Fatal(err)
	}
	txns := newCleanTxns(aborted)
	for rest := contents(t, l, l.LocalStart(), l.End()); len(rest) > 0; {
		b, after, err := record.Split(rest)
		if err != nil || !b.CheckCRC() {
			t.Fatalf("a damaged batch is served: %v", err)
		}
		if rest = after; b.Control() {
			if _, _, err := txns.marker(b); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if txns.data(b) {
			continue
		}
		if err := b.Walk(0, func(r *record.Record) error {
			out = append(out, item{r.Offset(b), r.Timestamp(b), string(r.Key), string(r.Value), r.Value == nil})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// survivors is what compaction of all below dirtyEnd must leave of items: the last of each key, and nothing that was not there. gone: so are the
// tombstones.
func survivors(all []item, dirtyEnd int64, gone bool) []item {
	last := map[string]int64{}
	for _, i := range all {
		if i.offset < dirtyEnd {
			last[i.key] = i.offset
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(i item) bool {
		return i.offset < dirtyEnd && (i.offset < last[i.key] || gone && i.tombstone)
	})
}

// writeKeys appends n batches of a few records of some keys, in every codec, now and then without a value.
func writeKeys(t testing.TB, l *Log, rnd *rand.Rand, n int) {
	t.Helper()
	for i := range n {
		b := record.NewBuilder()
		b.Codec = record.Codec(rnd.IntN(5))
		for range 1 + rnd.IntN(5) {
			key, value := fmt.Appendf(nil, "key %d", rnd.IntN(40)), fmt.Appendf(nil, "value %d of %s", i, bytes.Repeat([]byte("x"), rnd.IntN(60)))
			if rnd.IntN(6) == 0 {
				value = nil
			}
			b.Add(1_600_000_000_000+rnd.Int64N(1000), key, value)
		}
		mustAppend(t, l, b.Build(), 1)
	}
}

// TestCompactionKeepsTheLastOfEachKey compares passes over a growing log with what must survive, before and after a restart, and with so little memory
// that a pass takes only some of the keys.
func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	for _, mapBytes := range []int64{1 << 20, 1} {
		t.Run(fmt.Sprint(mapBytes), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			path, now := t.TempDir(), time.UnixMilli(1_700_000_000_000)
			d := openDir(t, path, DirOptions{NodeID: 1})
			l := openLog(t, d, "topic-0", compacted())
			for round := range 4 {
				writeKeys(t, l, rnd, 100)
				all, end := items(t, l), l.view.Load().active().base
				bytes := l.Size()
				for l.compacted.Load() < end {
					done := clean(t, l, now, mapBytes)
					if done.To <= done.From {
						t.Fatalf("no progress: %+v", done)
					}
				}
				want := survivors(all, end, false)
				if got := items(t, l); !slices.Equal(got, want) {
					t.Fatalf("round %d: %d records, want %d of %d", round, len(got), len(want), len(all))
				}
				if l.Size() >= bytes || l.Dirty(l.End(), now).Due {
					t.Errorf("round %d: %d bytes of %d, %+v", round, l.Size(), bytes, l.Dirty(l.End(), now))
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d = openDir(t, path, DirOptions{NodeID: 1})
				l = openLog(t, d, "topic-0", compacted())
				if got := items(t, l); !slices.Equal(got, want) || l.compacted.Load() != end {
					t.Fatalf("round %d, restarted: %d records, want %d; compacted to %d, want %d", round, len(got), len(want), l.compacted.Load(), end)
				}
			}
		})
	}
}

// TestTombstonesGoAfterTheirTime: a tombstone stays for delete.retention.ms after the first pass that met it, and goes in a later one.
func TestTombstonesGoAfterTheirTime(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", compacted())
	rnd := rand.New(rand.NewPCG(1, 0))
	now := time.UnixMilli(1_700_000_000_000)
	writeKeys(t, l, rnd, 60)
	mustAppend(t, l, record.NewBuilder().Add(1_600_000_000_000, []byte("the last one"), nil).Build(), 1)
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	all, end := items(t, l), l.End()
	for _, step := range []struct {
		after time.Duration
		gone  bool
	}{{0, false}, {59 * time.Minute, false}, {61 * time.Minute, true}} {
		l.compacted.Store(0) // Kafka looks again when there is something new
		clean(t, l, now.Add(step.after), 1<<20)
		if got, want := items(t, l), survivors(all, end, step.gone); !slices.Equal(got, want) {
			t.Errorf("after %v: %d records, want %d", step.after, len(got), len(want))
		}
	}
	var last record.Batch
	for rest := contents(t, l, 0, end); len(rest) > 0; {
		var err error
		if last, rest, err = record.Split(rest); err != nil {
			t.Fatal(err)
		}
	}
	if l.End() != end || last.LastOffset() != end-1 || last.Count() != 0 {
		t.Errorf("the log ends at %d, its last batch at %d with %d records: not the empty one that keeps the end", l.End(), last.LastOffset(), last.Count())
	}
}

// TestCompactionOfTransactions: aborted records go, committed ones are compacted like others, markers go when nothing of their transaction is left and their
// time has passed; readers of committed records see the same all along, and producers are still known.
func TestCompactionOfTransactions(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", compacted())
	now, sequences := time.UnixMilli(1_700_000_000_000), map[int64]int32{}
	write := func(id int64, keys ...string) {
		b := record.NewBuilder()
		b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, sequences[id], true
		for _, k := range keys {
			b.Add(1_600_000_000_000, []byte(k), []byte("by "+fmt.Sprint(id)))
		}
		sequences[id] += int32(len(keys))
		mustAppend(t, l, b.Build(), 1)
	}
	for i := range 20 {
		write(1, "a", fmt.Sprint("only ", i))
		write(2, "a", "b")
		mustAppend(t, l, marker(1, 0, true, 1), 1)
		mustAppend(t, l, marker(2, 0, false, 1), 1)
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	producers, want := l.Producers(), survivors(items(t, l), l.End(), false)
	markers := func() (n int) {
		for rest := contents(t, l, 0, l.End()); len(rest) > 0; {
			b, after, err := record.Split(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = after; b.Control() && b.Count() > 0 {
				n++
			}
		}
		return n
	}
	counts := []int{markers()}
	for range 4 {
		l.compacted.Store(0)
		clean(t, l, now, 1<<20)
		if got := items(t, l); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		counts, now = append(counts, markers()), now.Add(2*time.Hour)
	}
	// The aborted data goes in the first pass, its markers get their time in the second and go in the third. Those of the committed ones stay with their data.
	if !slices.Equal(counts, []int{40, 40, 40, 20, 20}) && !slices.Equal(counts, []int{40, 40, 40, 21, 21}) {
		t.Errorf("markers after each pass: %v", counts)
	}
	// What recovery would know of the producers without a snapshot: the last sequence of each, though all of one's records were aborted.
	known := map[int64]int32{}
	for rest := contents(t, l, 0, l.End()); len(rest) > 0; {
		b, after, err := record.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		if rest = after; !b.Control() {
			known[b.ProducerID()] = b.LastSequence()
		}
	}
	for _, p := range producers {
		if last, ok := known[p.ProducerID]; !ok || last != p.LastSequence {
			t.Errorf("producer %d: last sequence %d in the log, was %d", p.ProducerID, last, p.LastSequence)
		}
	}
	if len(producers) != 2 {
		t.Errorf("producers %+v", producers)
	}
}

// TestCompactionMeetsDamage: a pass over a damaged segment fails and leaves all as it was.
func TestCompactionMeetsDamage(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", compacted())
	writeKeys(t, l, rand.New(rand.NewPCG(2, 0)), 100)
	waitDurable(t, l)
	eventually(t, "index files", func() bool { return l.view.Load().segments[2].sealedOnDisk() })
	file, err := l.dir.fs.OpenWrite(l.view.Load().segments[1].path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{0xff}, 100); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	before := l.Segments()
	_, err = l.Clean(l.Dirty(l.End(), time.Now()), CleanOptions{Now: time.Now(), MapBytes: 1 << 20})
	var damage *CorruptionError
	if !errors.As(err, &damage) || damage.Path != l.view.Load().segments[1].path(logSuffix) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(before, l.Segments()) || l.compacted.Load() != 0 || d.Failure() != nil {
		t.Errorf("%v, %v", l.Segments(), d.Failure())
	}
	if left, _ := filepath.Glob(filepath.Join(l.path, "*"+cleanedSuffix)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestLogChangesUnderCompaction: a truncation or a trim in the middle of a pass wins.
func TestLogChangesUnderCompaction(t *testing.T) {
	for name, change := range map[string]func(l *Log) error{
		"truncated": func(l *Log) error { return l.TruncateTo(l.view.Load().segments[2].base + 3) },
		"trimmed":   func(l *Log) error { _, _, err := l.DeleteBefore(l.view.Load().segments[2].base); return err },
		"reset":     func(l *Log) error { return l.Reset(7, nil, nil) },
	} {
		for at := range 20 {
			d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, Durability: Async})
			l := openLog(t, d, "topic-0", compacted())
			writeKeys(t, l, rand.New(rand.NewPCG(3, 0)), 40)
			eventually(t, "index files", func() bool { return l.Dirty(l.End(), time.Now()).To == l.view.Load().active().base })
			n := 0
			_, err := l.Clean(l.Dirty(l.End(), time.Now()), CleanOptions{Now: time.Now(), MapBytes: 1 << 20, Throttle: func(int) error {
				if n++; n == 1+at*4 {
					return change(l)
				}
				return nil
			}})
			if err != nil {
				t.Errorf("%s at step %d: %v", name, at, err)
			}
			for _, i := range items(t, l) {
				if i.offset >= l.End() || i.offset < l.LocalStart() {
					t.Errorf("%s at step %d: offset %d of [%d, %d)", name, at, i.offset, l.LocalStart(), l.End())
				}
			}
			mustAppend(t, l, plain(3, 1700000000000), 2)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
