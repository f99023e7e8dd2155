// Package replica holds the partitions of which this broker is a replica: leadership, ISR, high watermark.
package replica

// CONTRACT (skeleton). Owner: replica room.

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/internal/purgatory"
	"varve/metadata"
)

// Store is what the manager writes to the metadata. Implemented by metadata/postgres.
type Store interface {
	AssignDir(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, dir metadata.DirID) error
	SetRecovered(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32) error
}

// Restorer rebuilds a partition from the bucket after an unclean election. Implemented by tiering.
type Restorer interface {
	// Restored returns where the live segments of tp end and the producer snapshot and leader epochs at that point.
	// end is 0 with no error when nothing is live.
	Restored(ctx context.Context, tp metadata.TopicPartition) (end int64, epochs []commitlog.EpochEntry, producerSnapshot []byte, err error)
}

// Config of a Manager.
type Config struct {
	Self       metadata.BrokerID
	Dirs       []*commitlog.Dir
	Broker     func() *config.Broker // current, dynamic settings included
	Store      Store
	Restorer   Restorer // nil without a bucket
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Manager owns every Partition of this broker and follows the metadata image.
type Manager struct{}

func NewManager(cfg Config) *Manager { panic("unbuilt") }

// Apply brings the partitions to what im says: opens, starts leading, stops, deletes. Called by one goroutine, in version order. Slow work (restore) runs behind it.
func (m *Manager) Apply(im *metadata.Image) { panic("unbuilt") }

// Close stops background work. It does not close the Dirs.
func (m *Manager) Close() { panic("unbuilt") }

// Partition returns the partition: UNKNOWN_TOPIC_OR_PARTITION when the image has none, NOT_LEADER_OR_FOLLOWER when this broker has no replica or it is not ready,
// KAFKA_STORAGE_ERROR when its directory failed.
func (m *Manager) Partition(tp metadata.TopicPartition) (*Partition, error) { panic("unbuilt") }

// Each calls f for every partition that this broker leads.
func (m *Manager) Each(f func(*Partition)) { panic("unbuilt") }

// Waiters is touched with a partition's key whenever its high watermark, log start or leadership changes.
func (m *Manager) Waiters() *purgatory.Purgatory[metadata.TopicPartition] { panic("unbuilt") }

// Partition is one replica. Its mutex guards role, epoch and the log's writer side; nothing slow happens under it. Offsets are atomics.
type Partition struct{}

func (p *Partition) Key() metadata.TopicPartition { panic("unbuilt") }
func (p *Partition) Topic() string                { panic("unbuilt") } // name
func (p *Partition) Config() *config.Topic        { panic("unbuilt") }
func (p *Partition) Log() *commitlog.Log          { panic("unbuilt") } // reader methods only
func (p *Partition) LeaderEpoch() int32           { panic("unbuilt") }
func (p *Partition) Leading() bool                { panic("unbuilt") }

// CheckLeader is Kafka's order of epoch checks on a read (kafka-rules §3.2): 74, 75, 6.
func (p *Partition) CheckLeader(currentLeaderEpoch int32) error { panic("unbuilt") }

// Offsets is one consistent-enough sample of the partition's offsets: LogStart <= LastStable <= HighWatermark <= End.
type Offsets struct {
	LogStart, LocalStart, LastStable, HighWatermark, End int64
}

func (p *Partition) Offsets() Offsets { panic("unbuilt") }

// Append appends a validated batch as the leader: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS (acks -1), the log's own errors
// (sequence), KAFKA_STORAGE_ERROR.
func (p *Partition) Append(b record.Batch, acks int16, now time.Time) (commitlog.Appended, error) {
	panic("unbuilt")
}

// Acked reports whether everything below end is acknowledged for acks (1: durable here, -1: below the high watermark), or why it never will be.
func (p *Partition) Acked(end int64, acks int16) (bool, error) { panic("unbuilt") }

// SetLogStart raises the log start after Postgres has it.
func (p *Partition) SetLogStart(offset int64) error { panic("unbuilt") }

// Trim drops sealed local segments that end at or below offset (and at or below the high watermark).
func (p *Partition) Trim(offset int64) (segments int, bytes int64, err error) { panic("unbuilt") }

// RollIfDue seals a quiet active segment (varve.upload.max.age.ms).
func (p *Partition) RollIfDue(now time.Time, maxAge time.Duration) error { panic("unbuilt") }
