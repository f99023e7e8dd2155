package coordinator

import (
	"unicode/utf16"

	"varve/metadata"
)

// ShardOf returns the shard in [0, metadata.GroupShards) of a group id or transactional id: Kafka's
// Utils.abs(key.hashCode()) % partitions, where abs is 0 for the least integer.
func ShardOf(key string) int32 {
	var h int32
	for _, r := range key {
		if r1, r2 := utf16.EncodeRune(r); r1 != '\uFFFD' || r2 != '\uFFFD' {
			h = 31*(31*h+r1) + r2
		} else {
			h = 31*h + r
		}
	}
	if h == -1<<31 {
		h = 0
	}
	return max(h, -h) % metadata.GroupShards
}
