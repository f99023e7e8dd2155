package tiering_test

import (
	"bytes"
	"testing"
)

// TestReplay: every byte comes back, in order, over chunk and segment borders, and one pass over history asks for each chunk and each bundle once,
// also when the history is several times the cache.
func TestReplay(t *testing.T) {
	const memory = 32 << 20
	r := newRig(t, nil, memory)
	for range 6 {
		for range 30 {
			r.append(t, 10, 1000, 700<<10)
		}
		r.seal(t)
	}
	r.upload(t)
	end := r.rows.end()
	got := replay(t, r.reader, r.tp, 0, end, 1<<20)
	if want := r.local(t, 0, end); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came back of %d, or others", len(got), len(want))
	}
	if got, want := r.bucket.gets(), 6*(1+6); got > want {
		t.Errorf("%d reads of the bucket, want %d", got, want)
	}
}
