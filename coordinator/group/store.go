package group

import (
	"context"

	"varve/metadata"
)

// Store persists groups and offsets. Implemented by metadata/postgres. Every write carries the epoch of the shard's
// owner and fails with NOT_COORDINATOR when it is stale. An error that has a method Unavailable() bool returning true
// says that the store could not be reached.
type Store interface {
	OffsetStore
	LoadShard(ctx context.Context, shard, epoch int32) ([]metadata.GroupState, error)
	SaveGroup(ctx context.Context, epoch int32, g metadata.GroupState) error
	DeleteGroups(ctx context.Context, epoch, shard int32, groups []string) error
}

// OffsetStore is the part of Store for committed offsets.
type OffsetStore interface {
	// CommitOffsets stores all of commits or none. Of two commits of one key the later wins.
	CommitOffsets(ctx context.Context, shard, epoch int32, commits []metadata.OffsetCommit) error
	// FetchOffsets returns the committed offsets of tps, or all of the group's when tps is nil; what has none is absent.
	FetchOffsets(ctx context.Context, group string, tps []metadata.TopicPartition) ([]metadata.Offset, error)
	// DeleteOffsets deletes offsets of a group by topic and partition; one with a CommittedAt only if it was not committed
	// again since. Absent ones are no error.
	DeleteOffsets(ctx context.Context, shard, epoch int32, group string, offsets []metadata.Offset) error
}
