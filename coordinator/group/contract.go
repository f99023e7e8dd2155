// Package group coordinates consumer groups.
package group

// CONTRACT (skeleton). Owner: group room.

import (
	"context"

	"varve/metadata"
)

// Store persists groups and offsets. Implemented by metadata/postgres. Every write carries the shard's epoch: NOT_COORDINATOR when it is stale.
type Store interface {
	LoadShard(ctx context.Context, shard, epoch int32) ([]metadata.GroupState, error)
	SaveGroup(ctx context.Context, epoch int32, g metadata.GroupState) error
	CommitOffsets(ctx context.Context, shard, epoch int32, commits []metadata.OffsetCommit) error
	FetchOffsets(ctx context.Context, group string, tps []metadata.TopicPartition) ([]metadata.Offset, error)
	DeleteGroups(ctx context.Context, epoch, shard int32, groups []string) error
}

// Coordinator owns the shards that the image assigns to this broker. Its request methods take and return kmsg types and may block.
type Coordinator struct{}
