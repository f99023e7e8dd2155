package tiering_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"varve/commitlog"
	"varve/commitlog/record"
)

// TestTimestamps: for any timestamp the bucket answers what the local log answers about the same records: in order, out of order, several in one batch,
// compressed, stamped by the broker.
func TestTimestamps(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, nil, 16<<20)
	for segment := range 4 {
		for i := range 25 {
			b := record.NewBuilder()
			b.Codec, b.LogAppendTime = []record.Codec{record.None, record.Zstd}[i%2], i%7 == 3
			at := int64(1000*segment + 40*i)
			for range 5 {
				value := make([]byte, 100<<10)
				for j := range value {
					value[j] = byte(rnd.Uint32())
				}
				b.Add(at+rnd.Int64N(100), nil, value)
			}
			r.appendBatch(t, b.Build())
		}
		r.seal(t)
	}
	r.upload(t)
	end := r.rows.end()
	for range 300 {
		ts := rnd.Int64N(4300) - 100
		want, wantOK, err := r.log.OffsetForTimestamp(ts, end)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := r.reader.OffsetForTimestamp(t.Context(), r.tp, ts, 0)
		if err != nil || ok != wantOK || got != want {
			t.Fatalf("timestamp %d: %+v, %v, %v; the log says %+v, %v", ts, got, ok, err, want, wantOK)
		}
		from := rnd.Int64N(end)
		if got, ok, err = r.reader.OffsetForTimestamp(t.Context(), r.tp, 0, from); err != nil || !ok || got.Offset != from {
			t.Fatalf("the first one from %d on: %+v, %v, %v", from, got, ok, err)
		}
	}
	want, _, err := r.log.MaxTimestamp(end)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := r.reader.MaxTimestamp(t.Context(), r.tp, 0); err != nil || !ok || got != want {
		t.Errorf("greatest timestamp: %+v, %v, %v; the log says %+v", got, ok, err, want)
	}
	if _, ok, err := r.reader.OffsetForTimestamp(t.Context(), r.tp, math.MaxInt64, 0); ok || err != nil {
		t.Errorf("in the far future: %v, %v", ok, err)
	}
}

// TestLookupReads: to find a timestamp in a long history takes the bundle and one chunk of one segment.
func TestLookupReads(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.history(t, 4)
	if at, ok, err := r.reader.OffsetForTimestamp(t.Context(), r.tp, 1000+700, 0); err != nil || !ok || at.Offset != 700 {
		t.Fatalf("%+v, %v, %v", at, ok, err)
	}
	if got := r.bucket.gets(); got != 2 {
		t.Errorf("%d reads of the bucket", got)
	}
}

// TestMaxTimestampFrom: the greatest timestamp that is still there counts, not one below the log start.
func TestMaxTimestampFrom(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	r.append(t, 10, 9000, 1000) // [0, 10), the greatest timestamps
	r.append(t, 10, 1000, 1000)
	r.append(t, 10, 2000, 1000)
	r.seal(t)
	r.append(t, 10, 1500, 1000)
	r.append(t, 10, 1400, 5<<20) // a chunk with the next one
	r.append(t, 10, 1450, 1000)
	r.seal(t)
	r.upload(t)
	for from, want := range map[int64]int64{0: 9, 5: 9, 10: 29, 15: 29, 29: 29, 30: 39, 35: 39, 40: 59, 45: 59, 55: 59} {
		if at, ok, err := r.reader.MaxTimestamp(t.Context(), r.tp, from); err != nil || !ok || at.Offset != want {
			t.Errorf("from %d on: %+v, %v, %v; want offset %d", from, at, ok, err, want)
		}
	}
	if at, ok, err := r.reader.MaxTimestamp(t.Context(), r.tp, 60); ok || err != nil {
		t.Errorf("behind the end: %+v, %v", at, err)
	}
}

// TestAborted: the bucket lists the aborted transactions that the local log lists, and asks only segments that have some.
func TestAborted(t *testing.T) {
	r := newRig(t, nil, 32<<20)
	txn := func(id int64, commit bool) {
		for i := range 2 {
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, int32(i), true
			r.appendBatch(t, b.Add(1000, nil, make([]byte, 100)).Build())
			r.append(t, 3, 1000, 100)
		}
		r.appendBatch(t, record.NewMarker(id, 0, record.Marker{Commit: commit}, 1000))
	}
	for segment := range int64(4) {
		txn(10+segment, true)
		if segment%2 == 1 {
			txn(20+segment, false)
			txn(30+segment, false)
		}
		r.seal(t)
	}
	r.upload(t)
	end := r.rows.end()
	for from := int64(0); from < end; from += 3 {
		for upTo := from + 1; upTo <= end; upTo += 7 {
			want, err := r.log.Aborted(from, upTo)
			if err != nil {
				t.Fatal(err)
			}
			if got := aborted(t, r, from, upTo); !slices.Equal(got, want) {
				t.Fatalf("[%d, %d): %+v, the log says %+v", from, upTo, got, want)
			}
		}
	}
	if got := r.bucket.gets(); got != 2 {
		t.Errorf("%d reads of the bucket for two segments with aborted transactions", got)
	}
}

func aborted(t *testing.T, r *rig, from, upTo int64) []commitlog.AbortedTxn {
	t.Helper()
	for {
		txns, wait, err := r.reader.Aborted(r.tp, from, upTo)
		if err != nil {
			t.Fatal(err)
		}
		if wait == nil {
			return txns
		}
		await(t, wait)
	}
}
