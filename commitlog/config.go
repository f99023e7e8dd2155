package commitlog

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"varve/internal/vfs"
)

// Config is the configuration of one log, resolved from the topic's. It may change while the log is open.
type Config struct {
	SegmentBytes         int64         // segment.bytes, bytes
	SegmentAge           time.Duration // segment.ms
	SegmentJitter        time.Duration // segment.jitter.ms
	IndexIntervalBytes   int64         // index.interval.bytes
	SegmentIndexBytes    int64         // segment.index.bytes: the size at which an index counts as full
	ProducerIDExpiration time.Duration // producer.id.expiration.ms
	FileDeleteDelay      time.Duration // file.delete.delay.ms: how long a removed partition's directory stays
	Compaction           Compaction
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:         1 << 30,
		SegmentAge:           7 * 24 * time.Hour,
		IndexIntervalBytes:   4096,
		SegmentIndexBytes:    10 << 20,
		ProducerIDExpiration: 24 * time.Hour,
		FileDeleteDelay:      time.Minute,
	}
}

// maxOffsetEntries is the number of entries at which an offset index is full.
func (c *Config) maxOffsetEntries() int { return int(c.SegmentIndexBytes / offsetEntrySize) }

// maxTimeEntries is the number of entries at which a time index is full: one slot is kept for the entry made on roll.
func (c *Config) maxTimeEntries() int { return int(c.SegmentIndexBytes/timeEntrySize) - 1 }

// Durability says when appended bytes count as durable.
type Durability int

const (
	Fsync Durability = iota // after fdatasync
	Async                   // as soon as they are written: Kafka's behaviour
)

// DefaultTailBytes is the memory that the logs of one Dir keep of their newest bytes, together.
const DefaultTailBytes = 64 << 20

// DirOptions configures OpenDir.
type DirOptions struct {
	ClusterID  string // of meta.properties; a directory of another cluster is refused
	NodeID     int32
	Durability Durability
	TailBytes  int64                 // memory for the newest bytes of all logs, 0: DefaultTailBytes, negative: none
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	FS         *vfs.FS               // nil: the operating system's
	// Failed is called once, from the syncer's goroutine, when the directory can no longer be trusted (an fsync or write failed).
	Failed func(error)
}
