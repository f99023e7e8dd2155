package buckettest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"varve/tiering"
)

// outageLimit bounds how long one call may try a store that refuses connections.
const outageLimit = time.Minute

// Outage tests that a driver tells when its store is away, with an error that does not say that the object is not there, and goes on when it is back.
// stop ends the store, restart brings it back with its data.
func Outage(t *testing.T, b tiering.Bucket, stop, restart func()) {
	s := suite{b}
	s.put(t, "before", []byte("x"))
	stop()
	for _, c := range []struct {
		op   string
		call func() error
	}{
		{"put", func() error { return b.Put(t.Context(), "during", bytes.NewReader([]byte("x")), options([]byte("x"))) }},
		{"large put", func() error {
			return b.Put(t.Context(), "during", pattern{}, tiering.PutOptions{Size: large, CRC32C: 1})
		}},
		{"get", func() error { _, err := b.Get(t.Context(), "before", 0, -1); return err }},
		{"stat", func() error { _, err := b.Stat(t.Context(), "before"); return err }},
		{"list", func() error { return b.List(t.Context(), "", "", func(tiering.ObjectInfo) bool { return true }) }},
		{"delete", func() error { return b.Delete(t.Context(), []string{"before"}) }},
	} {
		started := time.Now()
		err := c.call()
		if took := time.Since(started); took > outageLimit {
			t.Errorf("%s took %v to fail", c.op, took)
		}
		var object *tiering.ObjectError
		if !errors.As(err, &object) || errors.Is(err, tiering.ErrNotFound) || errors.Is(err, tiering.ErrExists) || errors.Is(err, tiering.ErrChecksum) {
			t.Errorf("%s while the store is away: %v", c.op, err)
		}
	}
	restart()
	if got := s.get(t, "before", 0, -1); string(got) != "x" {
		t.Errorf("what was put before the outage is %q", got)
	}
	s.put(t, "after", []byte("y"))
	if got := s.get(t, "after", 0, -1); string(got) != "y" {
		t.Errorf("what was put after the outage is %q", got)
	}
}
