package record

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// FuzzBatch: a batch of any bytes is walked within its bound or refused with one of four errors, and what walks can be rewritten to the same records.
func FuzzBatch(f *testing.F) {
	files, err := filepath.Glob("../../testdata/golden/*/*/*.log")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if first, _, err := Split(b); err == nil {
			f.Add([]byte(first))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := Split(data)
		if err != nil {
			return
		}
		const bound = 1 << 20
		n, bytes := int32(0), 0
		err = b.Walk(bound, func(r *Record) error {
			n++
			bytes += len(r.Key) + len(r.Value)
			_, err := ParseHeaders(r)
			return err
		})
		if err != nil {
			for _, known := range []error{kerr.CorruptMessage, kerr.InvalidRecord, kerr.MessageTooLarge, kerr.UnsupportedCompressionType} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("an unknown error: %v", err)
		}
		if n != max(b.Count(), 0) || bytes > bound {
			t.Fatalf("%d records of %d, %d bytes", n, b.Count(), bytes)
		}
		again, err := Rewrite(b, Zstd)
		if err != nil || again.Count() != n || !again.CheckCRC() || again.ProducerID() != b.ProducerID() {
			t.Fatalf("rewritten: %d records of %d, %v", again.Count(), n, err)
		}
	})
}
