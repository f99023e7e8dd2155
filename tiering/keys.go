package tiering

import (
	"fmt"
	"hash/fnv"

	"varve/metadata"
)

// An attempt to upload the offsets [base, end) of a partition has two keys of its own; a retry has others, so that it can never overwrite what
// an earlier or a deposed leader wrote:
//
//	{hh}/{topic id}/{partition}/{base %020d}-{end %020d}-{leader epoch}-{attempt uuid}.log
//	{hh}/{topic id}/{partition}/{base %020d}-{end %020d}-{leader epoch}-{attempt uuid}.idx
//
// hh spreads partitions over key prefixes, by which stores limit request rates.

// LogKey is the key of the segment's bytes.
func LogKey(s *metadata.RemoteSegment) string { return key(s, "log") }

// IdxKey is the key of the segment's bundle.
func IdxKey(s *metadata.RemoteSegment) string { return key(s, "idx") }

func key(s *metadata.RemoteSegment, kind string) string {
	return fmt.Sprintf("%s%020d-%020d-%d-%s.%s", PartitionPrefix(s.TopicPartition), s.BaseOffset, s.EndOffset, s.LeaderEpoch, s.ID, kind)
}

// PartitionPrefix is what the keys of all objects of a partition begin with.
func PartitionPrefix(tp metadata.TopicPartition) string {
	h := fnv.New32a()
	fmt.Fprint(h, tp)
	return fmt.Sprintf("%02x/%s/%d/", byte(h.Sum32()), tp.TopicID, tp.Partition)
}
