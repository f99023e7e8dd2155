//go:build e2e

package cluster

import (
	"os"
	"testing"
)

// TestDiskReplaced gives a broker an empty disk: it fills it from the other replicas and is in sync again.
func TestDiskReplaced(t *testing.T) {
	s := begin(t, 3)

	s.perform(func(int) {
		id := 1 + s.random.IntN(3)
		s.Broker(id).Kill(t)
		if err := os.RemoveAll(s.LogDir(id)); err != nil {
			t.Fatal(err)
		}
		s.Broker(id).Start(t)
	})
	s.end()
}
