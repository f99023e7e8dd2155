package commitlog

// CONTRACT (skeleton): signatures that the other rooms compile against. The owner of this room replaces the bodies
// and spreads them over files named after their mechanism.

import (
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/commitlog/record"
)

// Config is the configuration of one log, resolved from the topic's. It may change while the log is open.
type Config struct {
	SegmentBytes         int64         // segment.bytes, bytes
	SegmentAge           time.Duration // segment.ms
	SegmentJitter        time.Duration // segment.jitter.ms
	IndexIntervalBytes   int64         // index.interval.bytes
	SegmentIndexBytes    int64         // segment.index.bytes
	ProducerIDExpiration time.Duration // producer.id.expiration.ms
	FileDeleteDelay      time.Duration // file.delete.delay.ms
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config { panic("unbuilt") }

// Durability says when appended bytes count as durable: after fdatasync (default) or as soon as they are written (Kafka's behaviour).
type Durability int

const (
	Fsync Durability = iota
	Async
)

// DirOptions configures OpenDir.
type DirOptions struct {
	ClusterID  string
	NodeID     int32
	Durability Durability
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Failed is called once when the directory can no longer be trusted (an fsync or write failed).
	Failed func(error)
}

// Dir is one log directory: its lock, identity, checkpoints, clean-shutdown marker and its group-commit syncer.
type Dir struct{}

func OpenDir(path string, o DirOptions) (*Dir, error) { panic("unbuilt") }
func (d *Dir) ID() uuid.UUID                          { panic("unbuilt") }
func (d *Dir) Path() string                           { panic("unbuilt") }

// Names lists the partition directories ("topic-0") present when the directory was opened or made since.
func (d *Dir) Names() []string { panic("unbuilt") }

// OpenLog opens, recovers or creates the log of one partition. A directory whose partition.metadata holds another topic id is renamed away (…-stray) first.
// durable is called from the syncer's goroutine, never under a lock, each time the durable end offset has grown.
func (d *Dir) OpenLog(name string, topicID uuid.UUID, cfg Config, durable func(end int64)) (*Log, error) {
	panic("unbuilt")
}

// Remove closes the log and removes its directory (renamed …-delete first, removed after the delay).
func (d *Dir) Remove(l *Log) error { panic("unbuilt") }

// Close makes everything durable, writes checkpoints, snapshots and the clean-shutdown marker, and releases the lock.
func (d *Dir) Close() error { panic("unbuilt") }

// Log is one partition's log. Methods marked W belong to its single writer (the partition's mutex holder); all others are
// safe for concurrent use and never wait for the writer.
type Log struct{}

// Appended tells where a batch went.
type Appended struct {
	BaseOffset, LastOffset int64
	LogAppendTime          int64 // ms, -1 unless LogAppendTime; the original's for a duplicate
	Duplicate              bool  // an idempotent producer sent it before: nothing was written
}

// Append (W) appends one batch that ingest has validated: checks the producer's sequence, stamps base offset and leader epoch into the
// batch in place (outside its CRC), writes, indexes, may roll. Not durable yet: see Dir's syncer. b is not retained.
func (l *Log) Append(b record.Batch, leaderEpoch int32, now time.Time) (Appended, error) {
	panic("unbuilt")
}

// AppendReplicated (W) appends batches as the leader stamped them (follower, restore).
func (l *Log) AppendReplicated(batches []byte) error { panic("unbuilt") }

// BecomeLeader (W) records that leaderEpoch starts at the log end.
func (l *Log) BecomeLeader(leaderEpoch int32) error { panic("unbuilt") }

// Roll (W) seals the active segment if it is not empty.
func (l *Log) Roll() error { panic("unbuilt") }

// RollIfDue (W) seals the active segment when it is not empty and its first append is longer than maxAge ago by the wall clock.
func (l *Log) RollIfDue(now time.Time, maxAge time.Duration) (bool, error) { panic("unbuilt") }

// TruncateTo (W) removes every offset >= offset.
func (l *Log) TruncateTo(offset int64) error { panic("unbuilt") }

// Reset (W) throws all local data away and starts an empty log at offset, with the producer state and leader epochs that a bundle carried.
func (l *Log) Reset(offset int64, epochs []EpochEntry, producerSnapshot []byte) error {
	panic("unbuilt")
}

// DeleteBefore (W) drops sealed segments that end at or below offset (local trimming and retention); returns what went.
// Readers that hold a Slice keep the files until they release it.
func (l *Log) DeleteBefore(offset int64) (segments int, bytes int64, err error) { panic("unbuilt") }

// SetLogStart (W) raises the log start offset (global, both tiers): epoch cache and producer state forget what lies below.
func (l *Log) SetLogStart(offset int64) error { panic("unbuilt") }
func (l *Log) SetConfig(cfg Config)           { panic("unbuilt") } // W

func (l *Log) Name() string                           { panic("unbuilt") }
func (l *Log) LogStart() int64                        { panic("unbuilt") } // global log start offset as last set
func (l *Log) LocalStart() int64                      { panic("unbuilt") } // first offset in the local files
func (l *Log) End() int64                             { panic("unbuilt") } // log end offset
func (l *Log) Durable() int64                         { panic("unbuilt") } // durable end offset
func (l *Log) FirstUnstable() (offset int64, ok bool) { panic("unbuilt") } // first offset of the oldest open transaction
func (l *Log) Size() int64                            { panic("unbuilt") } // bytes of all local segments
func (l *Log) Config() Config                         { panic("unbuilt") }

// SegmentInfo describes one local segment. The last one of Segments is the active one.
type SegmentInfo struct {
	BaseOffset, EndOffset int64 // [base, end)
	Bytes                 int64
	MaxTimestamp          int64     // ms, -1 without records
	Modified              time.Time // of the .log file
	Sealed                bool
	HasTxnIndex           bool // at least one aborted transaction
}

func (l *Log) Segments() []SegmentInfo { panic("unbuilt") }

// Sealed is a sealed segment held open for upload: its files stay until Release, whatever retention does.
type Sealed struct {
	SegmentInfo
	Log              *os.File // read with ReadAt over [0, Bytes)
	Index, TimeIndex []byte
	TxnIndex         []byte       // nil without aborted transactions
	ProducerSnapshot []byte       // at EndOffset
	Epochs           []EpochEntry // the history up to EndOffset
}

func (l *Log) OpenSealed(base int64) (*Sealed, error) { panic("unbuilt") }
func (s *Sealed) Release()                            { panic("unbuilt") }

// Piece is a run of batch bytes, in memory or in a file. Exactly one of Mem and File is set.
type Piece struct {
	Mem  []byte
	File *os.File // read at [Pos, Pos+Len) with an explicit offset only
	Pos  int64
	Len  int
}

// Slice is what a read returns: whole batches, the last one perhaps cut short. The holder must Release it once.
type Slice struct {
	Pieces  []Piece
	Bytes   int
	release func()
}

func (s *Slice) Release() { panic("unbuilt") }

// Read returns batches from the one that contains offset, below upTo, at most maxBytes; at least one whole batch when minOne.
// OFFSET_OUT_OF_RANGE outside [LocalStart, End]. Empty at offset >= upTo. upTo must lie on a batch boundary (HW and LSO do).
func (l *Log) Read(offset, upTo int64, maxBytes int, minOne bool) (Slice, error) { panic("unbuilt") }

// AbortedTxn is one aborted transaction that a read_committed reader must skip.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64
	LastOffset       int64
	LastStableOffset int64
}

// Aborted lists the aborted transactions that overlap [from, upTo), by last offset.
func (l *Log) Aborted(from, upTo int64) ([]AbortedTxn, error) { panic("unbuilt") }

// TimestampOffset is one answer of a lookup by time.
type TimestampOffset struct {
	Timestamp   int64
	Offset      int64
	LeaderEpoch int32
}

// OffsetForTimestamp finds the first record with timestamp >= ts and offset in [LocalStart, upTo). ok false: none.
func (l *Log) OffsetForTimestamp(ts, upTo int64) (TimestampOffset, bool, error) { panic("unbuilt") }

// MaxTimestamp finds the first record that has the greatest timestamp below upTo.
func (l *Log) MaxTimestamp(upTo int64) (TimestampOffset, bool, error) { panic("unbuilt") }

// EpochEntry says that leader epoch Epoch began at StartOffset.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

func (l *Log) Epochs() []EpochEntry { panic("unbuilt") }

// EpochEnd is Kafka's endOffsetFor (kafka-rules §3.3): (-1, -1) when unknown.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, end int64) { panic("unbuilt") }

// EpochAt returns the leader epoch of offset, -1 when unknown.
func (l *Log) EpochAt(offset int64) int32 { panic("unbuilt") }

// ProducerInfo describes one active producer (DescribeProducers).
type ProducerInfo struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32
	TxnStartOffset   int64 // -1: none open
}

func (l *Log) Producers() []ProducerInfo { panic("unbuilt") }
