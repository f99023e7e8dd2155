// Package postgres keeps the cluster's metadata in Postgres.
package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"varve/metadata"
)

// Store is the cluster's state in Postgres. All methods are safe for concurrent use. Client-visible failures are *kerr.Error wrapped.
type Store struct {
	pool *pgxpool.Pool
}

// Config of a Store.
type Config struct {
	URL      string // varve.metadata.url, postgres://...
	MaxConns int32  // default 4 (decisions 23); one more is opened for LISTEN
	Logger   *slog.Logger
}

// --- life

func Open(ctx context.Context, cfg Config) (*Store, error)                        { panic("unbuilt") } // connects; does not migrate
func (s *Store) Close()                                                           { panic("unbuilt") }
func Migrate(ctx context.Context, url, direction string) (version int, err error) { panic("unbuilt") } // up|down|version
func (s *Store) ClusterID(ctx context.Context) (uuid.UUID, error)                 { panic("unbuilt") } // created once, by the first to ask

// --- image

func (s *Store) Snapshot(ctx context.Context) (*metadata.Image, error)         { panic("unbuilt") } // one REPEATABLE READ tx
func (s *Store) Version(ctx context.Context) (int64, error)                    { panic("unbuilt") }
func (s *Store) Listen(ctx context.Context, changed func(version int64)) error { panic("unbuilt") } // blocks until ctx ends or the connection is lost

// --- brokers and controller

func (s *Store) Register(ctx context.Context, r metadata.Registration) (metadata.BrokerEpoch, error) {
	panic("unbuilt")
}
func (s *Store) Heartbeat(ctx context.Context, id metadata.BrokerID, epoch metadata.BrokerEpoch, applied int64, ttl time.Duration) (fenced bool, err error) {
	panic("unbuilt")
}
func (s *Store) Unregister(ctx context.Context, id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	panic("unbuilt")
} // controlled shutdown: gives up leaderships it can, fences itself
func (s *Store) AcquireController(ctx context.Context, id metadata.BrokerID, ttl time.Duration) (epoch int64, ok bool, err error) {
	panic("unbuilt")
}
func (s *Store) RenewController(ctx context.Context, epoch int64, ttl time.Duration) (ok bool, err error) {
	panic("unbuilt")
}
func (s *Store) ControllerPass(ctx context.Context, controllerEpoch int64) (changed int, err error) {
	panic("unbuilt")
} // fences expired brokers, elects, assigns shards: rules in package metadata

// --- topics (each: one row-locked transaction, per-item errors, index i of the result belongs to item i)

// CreatedTopic is metadata's: package server, which may not import this one, names it in the interface it declares.
type CreatedTopic = metadata.CreatedTopic

func (s *Store) CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	panic("unbuilt")
}
func (s *Store) DeleteTopics(ctx context.Context, topics []metadata.TopicRef) ([]error, error) {
	panic("unbuilt")
}
func (s *Store) AddPartitions(ctx context.Context, topic string, added [][]metadata.BrokerID, from int, validateOnly bool) error {
	panic("unbuilt")
}
func (s *Store) AlterConfigs(ctx context.Context, res metadata.ConfigResource, edits []metadata.ConfigEdit, replaceAll bool) error {
	panic("unbuilt")
}
func (s *Store) ElectLeaders(ctx context.Context, kind metadata.ElectionType, tps []metadata.TopicPartition) ([]error, error) {
	panic("unbuilt")
} // nil tps: all; ELECTION_NOT_NEEDED per item
func (s *Store) SetRecovered(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32) error {
	panic("unbuilt")
} // RECOVERING -> RECOVERED, also records the replica's dir
func (s *Store) AssignDir(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, dir metadata.DirID) error {
	panic("unbuilt")
}

// RaiseLogStart persists a higher log start offset, fenced by the leader epoch; returns the value in force (never lower).
func (s *Store) RaiseLogStart(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, offset int64) (int64, error) {
	panic("unbuilt")
}
func (s *Store) ProducerIDBlock(ctx context.Context) (first, size int64, err error) { panic("unbuilt") }

// --- segment manifest

// AddIntent inserts an intent row, fenced: FENCED_LEADER_EPOCH when seg.Uploader no longer leads with seg.LeaderEpoch.
func (s *Store) AddIntent(ctx context.Context, seg metadata.RemoteSegment) error { panic("unbuilt") }

// CommitSegment is the fenced commit: in one transaction lock the partition FOR SHARE, check leader and epoch, intent -> live with
// the sizes, checksums and max timestamp of seg. Idempotent for the same id. A connection lost at COMMIT is resolved by re-reading.
func (s *Store) CommitSegment(ctx context.Context, seg metadata.RemoteSegment) error {
	panic("unbuilt")
}

// LiveSegments lists live rows of tp with EndOffset > from, by base offset, at most limit.
func (s *Store) LiveSegments(ctx context.Context, tp metadata.TopicPartition, from int64, limit int) ([]metadata.RemoteSegment, error) {
	panic("unbuilt")
}

// DoomSegments: live -> doomed and log start raised to newStart in the same transaction, fenced by the leader epoch.
func (s *Store) DoomSegments(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, newStart int64, ids []uuid.UUID, reason string) error {
	panic("unbuilt")
}

// SegmentsToDelete claims up to limit rows: doomed longer than grace, and intents older than intentGrace (FOR UPDATE SKIP LOCKED, claim expires).
func (s *Store) SegmentsToDelete(ctx context.Context, grace, intentGrace time.Duration, limit int) ([]metadata.RemoteSegment, error) {
	panic("unbuilt")
}
func (s *Store) MarkGone(ctx context.Context, ids []uuid.UUID) error { panic("unbuilt") }

// SegmentTotals sums live rows per partition (size retention, DescribeLogDirs, metrics) of topics led by self, or of all.
type SegmentTotal struct {
	metadata.TopicPartition
	Segments  int64
	Bytes     int64
	EndOffset int64 // highest live EndOffset
}

func (s *Store) SegmentTotals(ctx context.Context) ([]SegmentTotal, error) { panic("unbuilt") }

// --- groups

func (s *Store) LoadShard(ctx context.Context, shard, epoch int32) ([]metadata.GroupState, error) {
	panic("unbuilt")
} // NOT_COORDINATOR when the epoch is stale
func (s *Store) SaveGroup(ctx context.Context, epoch int32, g metadata.GroupState) error {
	panic("unbuilt")
}
func (s *Store) CommitOffsets(ctx context.Context, shard, epoch int32, commits []metadata.OffsetCommit) error {
	panic("unbuilt")
} // one unnest upsert; creates the group row when absent
func (s *Store) FetchOffsets(ctx context.Context, group string, tps []metadata.TopicPartition) ([]metadata.Offset, error) {
	panic("unbuilt")
} // nil: all
func (s *Store) DeleteGroups(ctx context.Context, epoch int32, shard int32, groups []string) error {
	panic("unbuilt")
}
