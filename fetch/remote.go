package fetch

import (
	"context"

	"varve/commitlog"
	"varve/metadata"
)

// RemoteReader reads what local files no longer hold. Implemented by tiering.Reader.
type RemoteReader interface {
	// Read returns batches of tp from the one that contains offset, below upTo, at most maxBytes, at least one whole batch when minOne. It never waits for the
	// bucket: when the bytes are not in the cache it starts a background fill (single-flight, detached from ctx) and returns a channel that
	// closes when a retry may succeed. err is for the client: KAFKA_STORAGE_ERROR (retriable) for a broken object,
	// OFFSET_OUT_OF_RANGE only when the manifest positively says so.
	Read(tp metadata.TopicPartition, offset, upTo int64, maxBytes int, minOne bool) (s commitlog.Slice, wait <-chan struct{}, err error)
	// Aborted lists aborted transactions overlapping [from, upTo) in remote segments; same waiting rule.
	Aborted(tp metadata.TopicPartition, from, upTo int64) (txns []commitlog.AbortedTxn, wait <-chan struct{}, err error)
	// OffsetForTimestamp finds the first record with timestamp >= ts in live remote segments at or above from. Blocks on the bucket, bounded by ctx.
	OffsetForTimestamp(ctx context.Context, tp metadata.TopicPartition, ts, from int64) (commitlog.TimestampOffset, bool, error)
	// MaxTimestamp: the greatest timestamp in live remote segments and its offset.
	MaxTimestamp(ctx context.Context, tp metadata.TopicPartition, from int64) (commitlog.TimestampOffset, bool, error)
	// TieredEnd is one past the highest live offset (0: none). It may have to ask the manifest, bounded by ctx.
	TieredEnd(ctx context.Context, tp metadata.TopicPartition) (int64, error)
}
