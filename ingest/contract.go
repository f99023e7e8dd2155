// Package ingest is the produce path: validation in Kafka's order, append, waiting for acknowledgements, DeleteRecords.
package ingest

// CONTRACT (skeleton). Owner: replica/ingest/fetch worker.

import (
	"context"
	"time"

	"varve/metadata"
	"varve/replica"
)

// PartitionRequest is the records for one partition. Records alias the request's buffer, which must live until Wait has returned.
type PartitionRequest struct {
	TopicPartition metadata.TopicPartition
	Records        []byte
}

// RecordError says which record of a batch was refused and why.
type RecordError struct {
	Index   int32
	Message string
}

// PartitionResult is the answer for one partition, in the order of the request.
type PartitionResult struct {
	Err           error // nil or wrapping a *kerr.Error
	BaseOffset    int64 // -1 on error
	LogAppendTime int64 // -1 unless LogAppendTime
	LogStart      int64
	RecordErrors  []RecordError
	ErrorMessage  string
}

// Producer is the produce path over the partitions of this broker.
type Producer struct{}

func New(m *replica.Manager /* plus logger, metrics, clock */) *Producer { panic("unbuilt") }

// Pending is a produce that was appended and may still wait for its acknowledgements.
type Pending struct{}

// Append validates and appends each partition's batch in order; it does not wait.
func (p *Producer) Append(acks int16, version int16, transactional bool, parts []PartitionRequest, now time.Time) *Pending {
	panic("unbuilt")
}

// Done reports whether nothing is left to wait for (acks 0, all failed, or already acknowledged).
func (p *Pending) Done() bool { panic("unbuilt") }

// Wait blocks until every partition is acknowledged, failed, or timeout has passed (REQUEST_TIMED_OUT).
func (p *Pending) Wait(ctx context.Context, timeout time.Duration) []PartitionResult {
	panic("unbuilt")
}
