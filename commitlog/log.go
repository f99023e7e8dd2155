package commitlog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Log is one partition's log. Methods marked W belong to its single writer (the partition's mutex holder); all others are
// safe for concurrent use and never wait for the writer.
type Log struct {
	dir     *Dir
	name    string
	path    string
	topicID uuid.UUID
	grown   func(end int64) // the owner's durable callback
	told    atomic.Int64    // what grown was last told

	view          atomic.Pointer[view]
	structure     sync.Mutex   // held over I/O by who replaces or drops segments: compaction, truncation, trimming, removal
	compacted     atomic.Int64 // compaction has looked at all keys below
	cfg           atomic.Pointer[Config]
	logStart      atomic.Int64
	firstUnstable atomic.Int64 // -1: none
	closed        atomic.Bool
	clean         atomic.Bool // closed, with all files complete
	producers     producers
	epochs        epochCache
	epochFile     sync.Mutex // held while leader-epoch-checkpoint is written

	// The writer's own.
	w struct {
		lastExpiry time.Time // of producers
	}

	sync syncState
}

// syncState is what the writer tells the syncer.
type syncState struct {
	queued atomic.Bool // in the syncer's queue
	mu     struct {
		sync.Mutex
		durable    int64      // durable end offset
		generation int        // counts truncations: a sample from before is void
		rolled     []*segment // sealed, but their bytes may not be durable
		newNames   bool       // files were made or renamed in the partition's directory
	}
	published atomic.Int64 // = mu.durable, for readers
}

// Name returns the partition directory's name, "topic-0".
func (l *Log) Name() string { return l.name }

// TopicID returns the topic id that partition.metadata holds.
func (l *Log) TopicID() uuid.UUID { return l.topicID }

// Config returns the configuration as last set.
func (l *Log) Config() Config { return *l.cfg.Load() }

// LogStart returns the global log start offset as last set; it counts both tiers.
func (l *Log) LogStart() int64 { return l.logStart.Load() }

// End returns the log end offset: that of the next record.
func (l *Log) End() int64 { return l.view.Load().end() }

// Durable returns the durable end offset: what lies below survives a power loss (durability fsync).
func (l *Log) Durable() int64 { return l.sync.published.Load() }

// Producers lists what the log knows of producers, by id (DescribeProducers).
func (l *Log) Producers() []ProducerInfo { return l.producers.info() }

// Epochs returns a copy of the leader epoch history, ascending.
func (l *Log) Epochs() []EpochEntry { return l.epochs.all() }

// LastEpoch returns the newest leader epoch that the log knows, -1: none.
func (l *Log) LastEpoch() int32 { return l.epochs.latest() }

// EpochAt returns the leader epoch of offset, -1 when unknown.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.at(offset) }

// LocalStart returns the first offset that the local files serve.
func (l *Log) LocalStart() int64 { return l.localStart(l.view.Load()) }

func (l *Log) localStart(v *view) int64 { return max(v.base(), l.logStart.Load()) }

// EpochEnd is Kafka's endOffsetFor: the greatest leader epoch at or below epoch and the offset where it ended, the log end for the
// newest one; (-1, -1) when unknown.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, end int64) {
	return l.epochs.endFor(epoch, l.End())
}

// FirstUnstable returns the first offset of the oldest open transaction. The last stable offset is the lesser of it and the high watermark.
func (l *Log) FirstUnstable() (offset int64, ok bool) {
	offset = l.firstUnstable.Load()
	return offset, offset >= 0
}

// Size returns the bytes of all local segments.
func (l *Log) Size() (bytes int64) {
	for _, s := range l.view.Load().segments {
		bytes += s.size()
	}
	return bytes
}

// SetConfig (W) replaces the configuration. It takes effect with the next append.
func (l *Log) SetConfig(cfg Config) { l.cfg.Store(&cfg) }

// BecomeLeader (W) records that leaderEpoch starts at the log end, even if nothing is ever appended in it. The file learns of it with the first record of the
// epoch, or when the log is closed: without records a crash may forget it.
func (l *Log) BecomeLeader(leaderEpoch int32) error {
	if err := l.writable(); err != nil {
		return err
	}
	l.epochs.assign(leaderEpoch, l.End())
	return nil
}

// writable returns why the log cannot be written, if so.
func (l *Log) writable() error {
	if l.closed.Load() {
		return errClosed
	}
	return l.dir.Failure()
}

// DirPath is the path of the log directory that the log is in.
func (l *Log) DirPath() string { return l.dir.path }

// SegmentInfo describes one local segment. The last one of Segments is the active one.
type SegmentInfo struct {
	BaseOffset, EndOffset int64 // [base, end)
	Bytes                 int64
	MaxTimestamp          int64     // ms, -1 without records
	Modified              time.Time // of the .log file
	Sealed                bool
	HasTxnIndex           bool // at least one aborted transaction
}

// Sealed is how many of the local segments are sealed.
func (l *Log) Sealed() int { return len(l.view.Load().segments) - 1 }

// FirstSegment returns the base offset of the first local segment.
func (l *Log) FirstSegment() int64 { return l.view.Load().base() }

// Untouched reports whether the log holds nothing and never held anything here.
func (l *Log) Untouched() bool {
	v := l.view.Load()
	return len(v.segments) == 1 && v.end() == 0
}

// Segments lists the local segments by offset.
func (l *Log) Segments() []SegmentInfo {
	v := l.view.Load()
	infos := make([]SegmentInfo, len(v.segments))
	for i := range infos {
		infos[i] = v.info(i)
	}
	return infos
}

func (v *view) info(i int) SegmentInfo {
	s := v.segments[i]
	return SegmentInfo{
		BaseOffset: s.base, EndOffset: v.endOf(i), Bytes: s.size(), MaxTimestamp: s.maxTs.Load(),
		Modified: time.UnixMilli(s.modified.Load()), Sealed: i+1 < len(v.segments), HasTxnIndex: s.aborted.Load() > 0,
	}
}

// setDurable publishes end unless the log was truncated since generation. It reports whether the durable end grew.
func (l *Log) setDurable(end int64, generation int) bool {
	l.sync.mu.Lock()
	defer l.sync.mu.Unlock()
	if generation != l.sync.mu.generation || end <= l.sync.mu.durable {
		return false
	}
	l.sync.mu.durable = end
	l.sync.published.Store(end)
	return true
}

// cutDurable is told that nothing at or above end exists any more; samples taken before are void. With force the durable end becomes end.
func (l *Log) cutDurable(end int64, force bool) {
	l.sync.mu.Lock()
	defer l.sync.mu.Unlock()
	l.sync.mu.generation++
	l.sync.mu.newNames = true
	if force || end < l.sync.mu.durable {
		l.sync.mu.durable = end
		l.sync.published.Store(end)
	}
}

// outOfRange is the answer to a read outside [start, end].
func outOfRange(l *Log, offset, start, end int64) error {
	return &offsetError{name: l.name, offset: offset, start: start, end: end}
}

type offsetError struct {
	name               string
	offset, start, end int64
}

// Unwrap makes it an OFFSET_OUT_OF_RANGE.
func (e *offsetError) Unwrap() error { return kerr.OffsetOutOfRange }

// newNames is told that names in the partition's directory changed: they have to be durable before data is.
func (l *Log) newNames() {
	l.sync.mu.Lock()
	defer l.sync.mu.Unlock()
	l.sync.mu.newNames = true
}
