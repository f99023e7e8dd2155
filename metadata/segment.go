package metadata

import (
	"time"

	"github.com/google/uuid"
)

// SegmentState is where a remote segment stands in its life: intent -> live -> doomed -> gone
// (KIP-405: COPY_SEGMENT_STARTED, COPY_SEGMENT_FINISHED, DELETE_SEGMENT_STARTED, DELETE_SEGMENT_FINISHED).
// Only live segments are readable and counted.
type SegmentState int16

const (
	SegmentIntent SegmentState = 0
	SegmentLive   SegmentState = 1
	SegmentDoomed SegmentState = 2
	SegmentGone   SegmentState = 3
)

// RemoteSegment is one row of the segment manifest: one upload attempt of the offsets [BaseOffset, EndOffset).
type RemoteSegment struct {
	ID             uuid.UUID // of this attempt; part of the object keys
	TopicPartition TopicPartition
	BaseOffset     int64 // first offset
	EndOffset      int64 // one past the last offset
	LeaderEpoch    int32 // of the uploader
	State          SegmentState
	MaxTimestamp   int64  // ms since the epoch, -1 when the segment has no record
	LogBytes       int64  // size of the .log object
	IdxBytes       int64  // size of the .idx object
	LogCRC32C      uint32 // of the whole .log object
	HasTxnIndex    bool
	Uploader       BrokerID
	CreatedAt      time.Time // by Postgres's clock
	ChangedAt      time.Time // when State was entered, by Postgres's clock
	Reason         string    // why it was doomed
}
