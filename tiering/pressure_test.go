package tiering

import (
	"maps"
	"testing"

	"varve/metadata"
)

// TestRelief: the oldest copies of all partitions go, whole segments, until there is enough.
func TestRelief(t *testing.T) {
	a, b := metadata.TopicPartition{Partition: 0}, metadata.TopicPartition{Partition: 1}
	copies := []localCopy{{a, 10, 100, 1}, {a, 20, 100, 3}, {a, 30, 100, 5}, {b, 7, 50, 2}, {b, 9, 50, 4}}
	for _, c := range []struct {
		need, bytes int64
		trim        map[metadata.TopicPartition]int64
	}{
		{0, 0, nil},
		{1, 100, map[metadata.TopicPartition]int64{a: 10}},
		{101, 150, map[metadata.TopicPartition]int64{a: 10, b: 7}},
		{251, 300, map[metadata.TopicPartition]int64{a: 20, b: 9}},
		{1000, 400, map[metadata.TopicPartition]int64{a: 30, b: 9}},
	} {
		if trim, bytes := relief(append([]localCopy(nil), copies...), c.need); bytes != c.bytes || !maps.Equal(trim, c.trim) {
			t.Errorf("need %d: %d bytes, %v, want %d, %v", c.need, bytes, trim, c.bytes, c.trim)
		}
	}
}

// TestMinFree: a setting counts as it is; without one, a tenth of the volume and at most 10 GiB.
func TestMinFree(t *testing.T) {
	for _, c := range []struct{ configured, total, want int64 }{{5, 100, 5}, {0, 100, 0}, {-1, 100, 10}, {-1, 1 << 50, 10 << 30}} {
		if got := minFree(c.configured, c.total); got != c.want {
			t.Errorf("minFree(%d, %d) = %d, want %d", c.configured, c.total, got, c.want)
		}
	}
}
