package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/metadata"
)

// Partition is one replica. Its mutex guards role, epoch and the log's writer side; nothing slow happens under it. Offsets are atomics.
type Partition struct {
	key     metadata.TopicPartition
	topic   string
	manager *Manager

	want    atomic.Pointer[wanted]
	work    sync.Mutex // held by the goroutine that brings the partition to what is wanted
	dir     *commitlog.Dir
	rebuilt int32    // leader epoch in which the log was rebuilt from the bucket, -1: none; guarded by work
	fetcher *fetcher // whose the partition is, nil: nobody's; guarded by work

	log     atomic.Pointer[commitlog.Log] // nil until it is open
	cfg     atomic.Pointer[config.Topic]
	role    atomic.Pointer[role]
	failed  atomic.Pointer[error]
	hw      atomic.Int64
	removed atomic.Bool
	traffic Traffic
	watch   watchers

	mu sync.Mutex

	// The leader's view of its followers. The mutex is a leaf; nothing is called under it.
	isr struct {
		sync.Mutex
		*inSync // nil unless leading
	}
}

// wanted is what the image says of a partition.
type wanted struct {
	state  *metadata.Partition
	config *config.Topic
}

// role is the immutable leadership of a partition. It is replaced under the partition's mutex.
type role struct {
	leading    bool
	epoch      int32
	leader     metadata.BrokerID // whom a follower follows, NoBroker: nobody
	alone      bool              // leading, and no other replica exists: the high watermark follows the own disk
	epochStart int64             // leading: log end when the epoch began
}

// Key returns the partition's identity.
func (p *Partition) Key() metadata.TopicPartition { return p.key }

// Topic returns the topic's name.
func (p *Partition) Topic() string { return p.topic }

// Config returns the topic's effective configuration.
func (p *Partition) Config() *config.Topic { return p.cfg.Load() }

// Log returns the log; only its reader methods may be called.
func (p *Partition) Log() *commitlog.Log { return p.log.Load() }

// name is that of the log's directory.
func (p *Partition) name() string { return fmt.Sprintf("%s-%d", p.topic, p.key.Partition) }

// LeaderEpoch returns the leader epoch that this replica has taken up, -1 before the first.
func (p *Partition) LeaderEpoch() int32 { return p.role.Load().epoch }

// Leading reports whether this replica leads.
func (p *Partition) Leading() bool { return p.role.Load().leading }

// CheckLeader is Kafka's order of epoch checks on a read: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER. A negative
// epoch stands for "not given".
func (p *Partition) CheckLeader(currentLeaderEpoch int32) error {
	r := p.role.Load()
	switch {
	case currentLeaderEpoch >= 0 && currentLeaderEpoch < r.epoch:
		return kerr.FencedLeaderEpoch
	case currentLeaderEpoch >= 0 && currentLeaderEpoch > r.epoch:
		return kerr.UnknownLeaderEpoch
	case !r.leading:
		return kerr.NotLeaderForPartition
	}
	return nil
}

// CheckReader is CheckLeader for a reader that may be content with a follower (KIP-392).
func (p *Partition) CheckReader(currentLeaderEpoch int32, follower bool) error {
	err := p.CheckLeader(currentLeaderEpoch)
	if follower && errors.Is(err, kerr.NotLeaderForPartition) && p.role.Load().leader != metadata.NoBroker {
		return nil
	}
	return err
}

// Caught reports whether the high watermark of a new leader has reached the beginning of its leader epoch. Until then it may lie below what its
// predecessor told clients (KIP-207).
func (p *Partition) Caught() bool { return p.hw.Load() >= p.role.Load().epochStart }

// Offsets is one consistent-enough sample of the partition's offsets: LogStart <= LastStable <= HighWatermark <= End.
type Offsets struct {
	LogStart, LocalStart, LastStable, HighWatermark, End int64
}

// Offsets samples the partition's offsets.
func (p *Partition) Offsets() Offsets {
	l := p.log.Load()
	o := Offsets{LogStart: l.LogStart(), LocalStart: l.LocalStart()}
	o.HighWatermark = max(p.hw.Load(), o.LogStart)
	o.LastStable = o.HighWatermark
	if first, open := l.FirstUnstable(); open {
		o.LastStable = max(min(first, o.HighWatermark), o.LogStart)
	}
	o.End = max(l.End(), o.HighWatermark)
	return o
}

// Append appends a validated batch as the leader: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS (acks -1), the log's own errors
// (sequence), KAFKA_STORAGE_ERROR. b is stamped in place and not retained.
func (p *Partition) Append(b record.Batch, acks int16, now time.Time) (commitlog.Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.role.Load()
	if !r.leading {
		return commitlog.Appended{}, kerr.NotLeaderForPartition
	}
	if need, have := p.minISR(); acks == -1 && have < need {
		return commitlog.Appended{}, fmt.Errorf("%w: %s-%d has %d in-sync replicas of %d", kerr.NotEnoughReplicas, p.topic, p.key.Partition, have, need)
	}
	done, err := p.log.Load().Append(b, r.epoch, now)
	if err == nil && !r.alone {
		p.grown(now)
	}
	return done, err
}

// Acked reports whether everything below end is acknowledged for acks (1: durable here, -1: below the high watermark), or why it never will be.
func (p *Partition) Acked(end int64, acks int16) (bool, error) {
	reached := p.hw.Load() >= end
	if acks == 1 {
		reached = p.log.Load().Durable() >= end
	}
	switch {
	case reached && p.Leading():
		return true, nil
	case p.failed.Load() != nil:
		return false, *p.failed.Load()
	case !p.Leading():
		return false, kerr.NotLeaderForPartition
	}
	return false, nil
}

// SetLogStart raises the log start after Postgres has it.
func (p *Partition) SetLogStart(offset int64) error {
	p.mu.Lock()
	err := p.log.Load().SetLogStart(offset)
	p.mu.Unlock()
	p.manager.waiters.Touch(p.key)
	return err
}

// Trim drops sealed local segments that end at or below offset (and at or below the high watermark).
func (p *Partition) Trim(offset int64) (segments int, bytes int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Load().DeleteBefore(min(offset, p.hw.Load()))
}

// RollIfDue seals a quiet active segment (varve.upload.max.age.ms).
func (p *Partition) RollIfDue(now time.Time, maxAge time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.log.Load().RollIfDue(now, maxAge)
	return err
}

// advance raises the high watermark to end; it never falls here.
func (p *Partition) advance(end int64) (raised bool) {
	for {
		old := p.hw.Load()
		if end <= old {
			return false
		}
		if p.hw.CompareAndSwap(old, end) {
			return true
		}
	}
}

// fail takes the partition out of service; err is what clients get.
func (p *Partition) fail(err error) {
	p.failed.CompareAndSwap(nil, &err)
	p.resign(p.LeaderEpoch(), metadata.NoBroker)
	p.manager.waiters.Touch(p.key)
}
