package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/metadata"
)

// errNotFollowing says that the partition has another leader, or another leader epoch, than what it was to be given came from.
var errNotFollowing = errors.New("the partition does not follow that leader any more")

// following is one partition of a fetcher, in one leader epoch. It belongs to the fetcher's goroutine.
type following struct {
	p     *Partition
	epoch int32

	sentIn  int64     // number of the request that asked for it last: earlier answers are about something else
	retryAt time.Time // zero: now
	pause   time.Duration
}

// whileFollowing calls f with the partition's mutex if it still follows in epoch.
func (p *Partition) whileFollowing(epoch int32, f func(l *commitlog.Log) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.role.Load(); r.leading || r.epoch != epoch || p.removed.Load() {
		return errNotFollowing
	}
	return f(p.log.Load())
}

// replicate appends what the leader of epoch sent. The last batch may be cut short: it comes again.
func (p *Partition) replicate(epoch int32, batches []byte) (end int64, err error) {
	err = p.whileFollowing(epoch, func(l *commitlog.Log) error {
		err := l.AppendReplicated(record.Whole(batches))
		end = l.End()
		return err
	})
	return end, err
}

// diverge cuts off what the leader does not have: its epoch told ended at told.StartOffset there (kafka-rules §3.5, KIP-595). The next fetch finds out whether
// that was all.
func (p *Partition) diverge(epoch int32, told commitlog.EpochEntry) error {
	return p.whileFollowing(epoch, func(l *commitlog.Log) error {
		to := min(told.StartOffset, l.End())
		if own, end := l.EpochEnd(told.Epoch); own >= 0 {
			if own != told.Epoch {
				to = min(end, l.End())
			} else {
				to = min(to, end)
			}
		}
		return p.truncateTo(l, max(to, 0))
	})
}

// truncateTo cuts the log. REQUIRES: the partition's mutex.
func (p *Partition) truncateTo(l *commitlog.Log, offset int64) error {
	before := l.End()
	if err := l.TruncateTo(offset); err != nil {
		return err
	}
	log := p.manager.cfg.Logger.With("topic", p.topic, "partition", p.key.Partition, "offset", l.End(), "log_end_before", before)
	if hw := p.hw.Load(); l.End() < hw {
		p.hw.Store(l.End())
		log.Warn("truncated below the high watermark, as the leader's history demands", "high_watermark", hw)
	} else if before > l.End() {
		log.Info("truncated to the leader's history")
	}
	return nil
}

// told takes in the leader's high watermark.
func (p *Partition) told(epoch int32, hw int64) {
	if r := p.role.Load(); r.leading || r.epoch != epoch {
		return
	}
	if p.advance(min(hw, p.log.Load().Durable())) {
		p.manager.waiters.Touch(p.key)
	}
}

// durableWait is how long a fetcher waits for one log's disk, and with it all partitions that it copies.
const durableWait = time.Second

// awaitDurable waits until everything below end is on the disk; false: it is not, and may not be for long.
func (m *Manager) awaitDurable(ctx context.Context, p *Partition, end int64) bool {
	l := p.log.Load()
	durable := func() bool { return l.Durable() >= end }
	return durable() || m.waiters.Await(ctx, durableWait, []metadata.TopicPartition{p.key}, durable)
}

// bootstrap begins the log anew where the leader's local log begins: what the leader has below that is in the bucket, from where producer state and leader
// epochs come (design/tier.md §4), or gone. A follower whose log only reaches beyond the leader's is cut to the leader's end.
func (m *Manager) bootstrap(ctx context.Context, f *following, conn Conn) error {
	l := f.p.log.Load()
	edges, err := leaderEdges(conn, f)
	if err != nil {
		return err
	}
	own := l.End()
	switch {
	case edges.end < own:
		return f.p.whileFollowing(f.epoch, func(l *commitlog.Log) error { return f.p.truncateTo(l, edges.end) })
	case own >= edges.localStart:
		return nil // the leader has it by now
	}
	var epochs []commitlog.EpochEntry
	var snapshot []byte
	if m.cfg.Restorer != nil && edges.localStart > edges.start {
		if epochs, snapshot, err = m.cfg.Restorer.StateAt(ctx, f.p.key, edges.localStart); err != nil {
			return fmt.Errorf("reading producer state and leader epochs at offset %d from the bucket: %w", edges.localStart, err)
		}
	}
	return f.p.whileFollowing(f.epoch, func(l *commitlog.Log) error {
		if err := l.Reset(edges.localStart, epochs, snapshot); err != nil {
			return err
		}
		f.p.hw.Store(edges.localStart)
		m.metrics.bootstraps.Inc()
		m.cfg.Logger.Info("replica begins where its leader's local log begins", "topic", f.p.topic, "partition", f.p.key.Partition,
			"offset", edges.localStart, "log_end_before", own)
		return nil
	})
}

// failedLocally takes a partition out of service whose log refused what its leader sent.
func (p *Partition) failedLocally(err error) bool {
	if !errors.Is(err, kerr.KafkaStorageError) || p.dir.Failure() == nil {
		return false
	}
	p.fail(err)
	return true
}
