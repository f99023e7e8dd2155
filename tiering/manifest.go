package tiering

import (
	"context"
	"time"

	"github.com/google/uuid"

	"varve/metadata"
)

// Manifest is where uploads are recorded. Implemented by metadata/postgres; every call is one transaction.
type Manifest interface {
	// AddIntent records that an upload begins, fenced by the leader epoch.
	AddIntent(ctx context.Context, seg metadata.RemoteSegment) error
	// CommitSegment makes it live, fenced by the leader epoch. Idempotent; a commit whose outcome is unknown is found out.
	CommitSegment(ctx context.Context, seg metadata.RemoteSegment) error
	SegmentLister
}

// SegmentLister lists the live segments of a partition with EndOffset > from by offset, at most limit.
type SegmentLister interface {
	LiveSegments(ctx context.Context, tp metadata.TopicPartition, from int64, limit int) ([]metadata.RemoteSegment, error)
}

// Ledger is where deletions are recorded before and after they happen. Implemented by metadata/postgres.
type Ledger interface {
	// RaiseLogStart persists a higher log start, fenced by the leader epoch, and returns the one in force.
	RaiseLogStart(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, offset int64) (int64, error)
	// DoomSegments raises the log start and dooms segments below it, in one transaction.
	DoomSegments(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, newStart int64, ids []uuid.UUID, reason string) error
	// SegmentsToDelete claims segments whose objects may go: doomed for longer than grace, and uploads begun longer than intentGrace ago and never finished.
	SegmentsToDelete(ctx context.Context, grace, intentGrace time.Duration, limit int) ([]metadata.RemoteSegment, error)
	// MarkGone records that the objects of doomed segments are deleted.
	MarkGone(ctx context.Context, ids []uuid.UUID) error
}
