package tiering_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
	"varve/tiering"
)

// history writes and uploads segments of 30 batches of 700 KiB each, which are five chunks or so.
func (r *rig) history(t testing.TB, segments int) {
	t.Helper()
	for range segments {
		for range 30 {
			r.append(t, 10, 1000+r.log.End(), 700<<10)
		}
		r.seal(t)
	}
	r.upload(t)
}

// TestReplay: every byte comes back, in order, over chunk and segment borders, and one pass over history asks for each chunk and each bundle once,
// also when the history is several times the cache.
func TestReplay(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 6)
	end := r.rows.end()
	got := replay(t, r.reader, r.tp, 0, end, 1<<20)
	if want := r.local(t, 0, end); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came back of %d, or others", len(got), len(want))
	}
	if got, want := r.bucket.gets(), 6*(1+5); got > want {
		t.Errorf("%d reads of the bucket, want at most %d", got, want)
	}
	if fetched, total := r.bucket.bytes(), int64(len(got)); fetched > total+6*(16<<10) {
		t.Errorf("%d bytes were fetched for %d", fetched, total)
	}
}

// TestReplayMinIO is TestReplay on a real store, with fetches that cut batches and with ones that span chunks; then the store goes away and
// comes back.
func TestReplayMinIO(t *testing.T) {
	store := startMinIO(t)
	r := newRig(t, store.bucket(t), 32<<20)
	r.history(t, 2)
	end := r.rows.end()
	want := r.local(t, 0, end)
	for _, size := range []int{1, 1_000_000, 50 << 20} {
		if got := replay(t, r.newReader(t, 32<<20), r.tp, 0, end, size); !bytes.Equal(got, want) {
			t.Fatalf("fetches of %d: %d bytes came back of %d, or others", size, len(got), len(want))
		}
	}
	store.Stop()
	cold := r.newReader(t, 32<<20)
	if _, err := read(t, cold, r.tp, 0, end, 1<<20); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("without the store: %v", err)
	}
	store.Restart(t)
	eventually(t, func() bool { s, err := read(t, cold, r.tp, 0, end, 1<<20); return err == nil && s.Bytes > 0 })
}

// TestReadDoesNotWait: while the bucket is silent a read answers at once with something to wait for; all who want a chunk wait for one GET, and it goes
// on when they have gone.
func TestReadDoesNotWait(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 1)
	if _, wait, err := r.reader.Read(r.tp, 0, 10, 1, true); err != nil || wait == nil { // the rows
		t.Fatalf("%v, %v", wait, err)
	} else {
		await(t, wait)
	}
	for _, what := range []string{"bundle", "chunk"} {
		before, release := r.bucket.gets(), r.bucket.hold()
		var first <-chan struct{}
		for range 100 {
			s, wait, err := r.reader.Read(r.tp, 155, 300, 1<<20, true)
			if err != nil || wait == nil || s.Bytes > 0 || first != nil && wait != first {
				t.Fatalf("%s: %d bytes, %v, %v", what, s.Bytes, wait, err)
			}
			first = wait
		}
		r.bucket.awaitGets(t, before+1)
		select {
		case <-first:
			t.Fatalf("%s: there before the bucket answered", what)
		default:
		}
		release()
		await(t, first)
		if got := r.bucket.gets() - before; got != 1 {
			t.Errorf("%s: %d reads of the bucket", what, got)
		}
	}
	s, wait, err := r.reader.Read(r.tp, 155, 300, 1<<20, true)
	if err != nil || wait != nil || s.Bytes == 0 {
		t.Errorf("%d bytes, %v, %v", s.Bytes, wait, err)
	}
}

// TestReadDoesNotCopy: what Read returns is the cache's memory, and the work does not grow with the bytes.
func TestReadDoesNotCopy(t *testing.T) {
	r := newRig(t, nil, 64<<20)
	r.history(t, 1)
	end := r.rows.end()
	replay(t, r.reader, r.tp, 0, end, 1<<20)
	a, err := read(t, r.reader, r.tp, 0, end, 50<<20)
	if err != nil || a.Bytes < 20<<20 {
		t.Fatalf("%d bytes, %v", a.Bytes, err)
	}
	b, err := read(t, r.reader, r.tp, 0, end, 1<<20)
	if err != nil || unsafe.SliceData(a.Pieces[0].Mem) != unsafe.SliceData(b.Pieces[0].Mem) {
		t.Fatalf("two reads have memory of their own: %v", err)
	}
	const reads = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range reads {
		s, _, _ := r.reader.Read(r.tp, 0, end, 4<<20, true)
		s.Release()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / reads; got > 2000 {
		t.Errorf("a read of 4 MiB allocates %d bytes", got)
	}
}

// TestReadLimits: the first batch is the one that holds the offset, nothing from upTo on, no more than maxBytes, but one batch when minOne.
func TestReadLimits(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	for range 20 {
		r.append(t, 10, 1000, 100<<10)
	}
	r.seal(t)
	r.upload(t)
	batch := len(r.local(t, 0, 10))
	for _, c := range []struct {
		offset, upTo int64
		max          int
		minOne       bool
		first, bytes int64
	}{
		{0, 200, 1 << 30, false, 0, int64(20 * batch)},
		{15, 200, 1 << 30, false, 10, int64(19 * batch)},
		{199, 200, 1 << 30, false, 190, int64(batch)},
		{0, 50, 1 << 30, false, 0, int64(5 * batch)},
		{0, 200, 0, true, 0, int64(batch)},
		{0, 200, 0, false, -1, 0},
		{0, 200, batch - 1, false, -1, 0},
		{0, 200, batch + 5, false, 0, int64(batch) + 5},
	} {
		for {
			s, wait, err := r.reader.Read(r.tp, c.offset, c.upTo, c.max, c.minOne)
			if wait != nil {
				await(t, wait)
				continue
			}
			first := int64(-1)
			if s.Bytes > 0 {
				first = record.Batch(s.Pieces[0].Mem).BaseOffset()
			}
			if err != nil || int64(s.Bytes) != c.bytes || first != c.first {
				t.Errorf("%+v: %d bytes from %d on, %v", c, s.Bytes, first, err)
			}
			break
		}
	}
}

// TestDamage: a flipped byte in an object fails the reads of its chunk, with a retriable error, and no other; it is counted; what is repaired is read.
func TestDamage(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 2)
	end := r.rows.end()
	object := r.object(t, tiering.LogKey(&r.rows.all()[0]))
	flip := func() {
		data, err := os.ReadFile(object)
		if err != nil {
			t.Fatal(err)
		}
		data[6<<20] ^= 1 // in the second chunk, [60, 120)
		if err := os.WriteFile(object, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	for offset := int64(0); offset < end; offset += 20 {
		s, err := read(t, r.reader, r.tp, offset, end, 1<<20)
		damaged := offset >= 60 && offset < 120
		if damaged != errors.Is(err, kerr.KafkaStorageError) || damaged != errors.Is(err, tiering.ErrChecksum) || damaged != (s.Bytes == 0) {
			t.Errorf("offset %d: %d bytes, %v", offset, s.Bytes, err)
		}
	}
	if got := r.metric(t, "varve_tier_corrupt_chunks_total"); got < 1 {
		t.Errorf("%v damaged chunks were counted", got)
	}
	flip()
	eventually(t, func() bool { _, err := read(t, r.reader, r.tp, 70, end, 1<<20); return err == nil })
	if got := replay(t, r.reader, r.tp, 0, end, 1<<20); !bytes.Equal(got, r.local(t, 0, end)) {
		t.Error("after the repair other bytes came back")
	}
}

// TestDamagedBundle: no byte of a segment whose bundle is damaged, or another one's, is believed.
func TestDamagedBundle(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 2)
	rows := r.rows.all()
	first, second := r.object(t, tiering.IdxKey(&rows[0])), r.object(t, tiering.IdxKey(&rows[1]))
	data, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(data)
	flipped[200] ^= 4
	for what, content := range map[string][]byte{"another segment's": data, "damaged": flipped, "empty": nil} {
		if err := os.WriteFile(first, content, 0o644); err != nil {
			t.Fatal(err)
		}
		reader := r.newReader(t, 32<<20)
		if _, err := read(t, reader, r.tp, 0, r.rows.end(), 1); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s bundle: %v", what, err)
		}
		if _, err := read(t, reader, r.tp, rows[1].BaseOffset, r.rows.end(), 1); err != nil {
			t.Errorf("%s bundle, the next segment: %v", what, err)
		}
	}
}

// TestObjectsGone: a segment whose objects are not there fails alone; when the manifest says that it is not live any more, and so that history
// begins later, the answer is OFFSET_OUT_OF_RANGE.
func TestObjectsGone(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 2)
	rows := r.rows.all()
	if err := r.bucket.Delete(t.Context(), []string{tiering.LogKey(&rows[0])}); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, r.reader, r.tp, 0, r.rows.end(), 1); !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	if _, err := read(t, r.reader, r.tp, rows[1].BaseOffset, r.rows.end(), 1); err != nil {
		t.Errorf("the segment behind it: %v", err)
	}
	r.rows.set(rows[1:])
	eventually(t, func() bool {
		_, err := read(t, r.reader, r.tp, 0, rows[1].EndOffset, 1)
		return errors.Is(err, kerr.OffsetOutOfRange)
	})
}

// TestBeyond: an offset that no known segment holds makes the reader look again, but not for each request; not knowing is retriable and never
// OFFSET_OUT_OF_RANGE.
func TestBeyond(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.rows.fail(errors.New("the database is away"))
	if _, err := read(t, r.reader, r.tp, 0, 10, 1); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("without a manifest: %v", err)
	}
	r.rows.fail(nil)
	r.history(t, 1)
	eventually(t, func() bool { _, err := read(t, r.reader, r.tp, 0, 10, 1); return err == nil })

	before, from := r.rows.lookups(), time.Now()
	for range 1000 {
		if _, err := read(t, r.reader, r.tp, 300, 310, 1); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("not uploaded yet: %v", err)
		}
	}
	if got, most := r.rows.lookups()-before, 2+int(time.Since(from)/time.Second); got > most {
		t.Errorf("%d look-ups for 1000 reads", got)
	}
	r.history(t, 1) // another broker's, so to speak
	eventually(t, func() bool { _, err := read(t, r.reader, r.tp, 300, 310, 1); return err == nil })
	if end, err := r.reader.TieredEnd(t.Context(), r.tp); err != nil || end != 600 {
		t.Errorf("tiered end %d", end)
	}
}

// TestGaps: offsets that compaction left out are passed over, also where they are the end of a chunk or of a segment.
func TestGaps(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	for _, offset := range []int64{0, 10, 100, 110, 500} {
		b := record.NewBuilder()
		b.BaseOffset, b.LeaderEpoch = offset, 3
		for range 10 {
			b.Add(1000, nil, bytes.Repeat([]byte{byte(offset)}, 420<<10)) // a chunk each
		}
		if err := r.log.AppendReplicated(b.Build()); err != nil {
			t.Fatal(err)
		}
		if offset == 110 {
			r.seal(t)
		}
	}
	r.seal(t)
	r.upload(t)
	for _, c := range []struct{ offset, want int64 }{{5, 0}, {15, 10}, {20, 100}, {99, 100}, {119, 110}, {120, 500}, {499, 500}, {505, 500}} {
		s, err := read(t, r.reader, r.tp, c.offset, math.MaxInt64, 1)
		if err != nil || s.Bytes == 0 || record.Batch(s.Pieces[0].Mem).BaseOffset() != c.want {
			t.Errorf("offset %d: %d bytes, %v", c.offset, s.Bytes, err)
		}
	}
}

// TestCloseEndsFills: a reader whose bucket does not answer closes all the same, and those who wait are woken.
func TestCloseEndsFills(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 1)
	if _, err := read(t, r.reader, r.tp, 0, 10, 1); err != nil {
		t.Fatal(err)
	}
	defer r.bucket.hold()()
	_, wait, err := r.reader.Read(r.tp, 155, 300, 1, true)
	if wait == nil || err != nil {
		t.Fatalf("%v, %v", wait, err)
	}
	r.reader.Close()
	await(t, wait)
}

// TestManyReaders: sixteen partitions replayed at once, each in order, push nothing out of memory that another one still wants, and no more bytes than
// half the cache are ever on their way.
func TestManyReaders(t *testing.T) {
	const memory = 64 << 20
	rigs := make([]*rig, 16)
	rigs[0] = newRig(t, nil, memory)
	for i := range rigs {
		if i > 0 {
			rigs[i] = rigs[0].another(t, i)
		}
		rigs[i].history(t, 1)
	}
	next, left := make([]int64, len(rigs)), len(rigs)
	for left > 0 {
		var waiting <-chan struct{}
		for i, r := range rigs {
			if next[i] == 300 {
				continue
			}
			s, wait, err := rigs[0].reader.Read(r.tp, next[i], 300, 1<<20, true)
			if err != nil {
				t.Fatal(err)
			}
			if waiting = wait; wait == nil {
				if _, next[i] = wholeBatches(t, collect(t, &s)); next[i] == 300 {
					left--
				}
			}
		}
		if waiting != nil {
			await(t, waiting)
		}
	}
	b := rigs[0].bucket
	if got, want := b.gets(), 16*(1+5)+16; got > want {
		t.Errorf("%d reads of the bucket for 16 bundles and 80 chunks", got)
	}
	if most := b.mostBytes(); most > memory/2 {
		t.Errorf("%d bytes were on their way at a time", most)
	}
}
