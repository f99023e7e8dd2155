package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/internal/config"
	"varve/metadata"
)

// reconcile brings p to what is wanted of it. One goroutine at a time does; the next one finds what came meanwhile.
func (m *Manager) reconcile(p *Partition) {
	p.work.Lock()
	defer p.work.Unlock()
	defer m.waiters.Touch(p.key)
	if m.ctx.Err() != nil || p.removed.Load() {
		return
	}
	if p.failed.Load() != nil {
		if p.log.Load() != nil {
			return // its disk failed: only a restart brings it back
		}
		p.failed.Store(nil) // its log was not to be had; what is wanted now may be another: an unclean election gives a lost log up
	}
	w := p.want.Load()
	s := w.state
	if err := m.open(p, w); err != nil {
		m.cfg.Logger.Error("partition is offline", "topic", p.topic, "partition", p.key.Partition, "error", err)
		p.fail(err)
		if errors.Is(err, errLogLost) && m.has(s.Dirs[slices.Index(s.Replicas, m.cfg.Self)]) {
			m.retry(p, "recording a lost log", func() error { return m.cfg.Store.LogLost(m.ctx, p.key, m.cfg.Self) })
		}
		return
	}
	if r := p.role.Load(); s.Leader != m.cfg.Self && (r.leading || r.epoch != s.LeaderEpoch || r.leader != s.Leader) {
		m.unfollow(p)
		p.resign(s.LeaderEpoch, s.Leader)
	}
	if s.Dirs[slices.Index(s.Replicas, m.cfg.Self)] != p.dir.ID() && !m.retry(p, "recording the log directory", func() error {
		return m.dirs.assign(p.key, p.dir.ID())
	}) {
		return
	}
	if s.Leader != m.cfg.Self {
		m.follow(p, s)
		return
	}
	m.unfollow(p)
	if s.Recovery == metadata.Recovering && p.rebuilt != s.LeaderEpoch && !m.rebuild(p, s) {
		return
	}
	if err := p.lead(s, time.Now()); err != nil {
		p.fail(err)
	}
}

// open opens p's log if it is not, and hands it the configuration and log start that are wanted.
func (m *Manager) open(p *Partition, w *wanted) error {
	if p.log.Load() == nil {
		if err := m.openLog(p, w); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.log.Load()
	l.SetConfig(m.logConfig(w.config))
	return l.SetLogStart(w.state.LogStartOffset)
}

func (m *Manager) openLog(p *Partition, w *wanted) error {
	m.opening <- struct{}{}
	defer func() { <-m.opening }()
	name := p.name()
	dir, err := m.place(name, w.state)
	if err != nil {
		return err
	}
	l, err := dir.OpenLog(name, p.key.TopicID, m.logConfig(w.config), p.durable)
	if err != nil {
		return err
	}
	p.dir = dir
	p.log.Store(l)
	return nil
}

// errLogLost is wrapped when Postgres knows a log to be here and it is not.
var errLogLost = errors.New("the log is lost")

// has reports whether dir is one of this broker's.
func (m *Manager) has(dir metadata.DirID) bool {
	return slices.ContainsFunc(m.cfg.Dirs, func(d *commitlog.Dir) bool { return d.ID() == dir })
}

// place finds the directory of a partition: the one that has the log, or for a new one that with the fewest logs. A log that Postgres knows
// to be here and is not is lost, if it counts: a replica that is not in sync is begun anew, and a log found elsewhere is as good a beginning.
func (m *Manager) place(name string, s *metadata.Partition) (*commitlog.Dir, error) {
	assigned := s.Dirs[slices.Index(s.Replicas, m.cfg.Self)]
	counts := assigned != uuid.Nil && s.Recovery != metadata.Recovering && (slices.Contains(s.ISR, m.cfg.Self) || slices.Contains(s.ELR, m.cfg.Self))
	var best *commitlog.Dir
	fewest := 0
	for _, d := range m.cfg.Dirs {
		if d.Has(name) && (assigned == d.ID() || !counts) {
			return d, nil
		}
		if n := d.Len(); d.Failure() == nil && (best == nil || n < fewest) {
			best, fewest = d, n
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: no log directory works", kerr.KafkaStorageError)
	}
	if counts {
		return nil, fmt.Errorf("%w: %w: %s should be in log directory %s; put the disk back, or elect a leader uncleanly to rebuild it from the bucket",
			kerr.KafkaStorageError, errLogLost, name, assigned)
	}
	return best, nil
}

func (m *Manager) logConfig(t *config.Topic) commitlog.Config {
	ms := func(n int64) time.Duration {
		return time.Duration(min(n, int64(1<<62)/int64(time.Millisecond))) * time.Millisecond
	}
	age := t.SegmentMs
	if t.CleanupCompact {
		age = min(age, t.MaxCompactionLagMs) // what is in the active segment is not compacted
	}
	return commitlog.Config{
		SegmentBytes: t.SegmentBytes, SegmentAge: ms(age), SegmentJitter: ms(t.SegmentJitterMs),
		IndexIntervalBytes: t.IndexIntervalBytes, SegmentIndexBytes: t.SegmentIndexBytes,
		ProducerIDExpiration: ms(m.cfg.Broker().ProducerIDExpirationMs), FileDeleteDelay: ms(t.FileDeleteDelayMs),
		Compaction: commitlog.Compaction{MinDirtyRatio: t.MinCleanableDirtyRatio, MinLag: ms(t.MinCompactionLagMs), MaxLag: ms(t.MaxCompactionLagMs),
			DeleteRetention: ms(t.DeleteRetentionMs)},
	}
}

// rebuild starts p's log anew where the bucket's segments end, and tells Postgres. False: not done.
func (m *Manager) rebuild(p *Partition, s *metadata.Partition) bool {
	log := m.cfg.Logger.With("topic", p.topic, "partition", p.key.Partition, "leader_epoch", s.LeaderEpoch)
	log.Info("rebuilding after an unclean election")
	p.resign(s.LeaderEpoch, metadata.NoBroker) // what an older epoch still led must take no record while its log is thrown away
	end := s.LogStartOffset
	var epochs []commitlog.EpochEntry
	var snapshot []byte
	if m.cfg.Restorer != nil {
		if !m.retry(p, "reading the bucket's end", func() (err error) {
			end, epochs, snapshot, err = m.cfg.Restorer.Restored(m.ctx, p.key)
			return err
		}) {
			return false
		}
		end = max(end, s.LogStartOffset)
	}
	p.mu.Lock()
	local := p.log.Load().End()
	err := p.log.Load().Reset(end, epochs, snapshot)
	p.hw.Store(end)
	p.mu.Unlock()
	if err != nil {
		p.fail(err)
		return false
	}
	if !m.retry(p, "recording the rebuilt log", func() error {
		return m.cfg.Store.SetRecovered(m.ctx, p.key, m.cfg.Self, s.LeaderEpoch)
	}) {
		return false
	}
	p.rebuilt = s.LeaderEpoch
	m.metrics.recoveries.Inc()
	m.metrics.lostFrom.WithLabelValues(p.topic, fmt.Sprint(p.key.Partition)).Set(float64(end))
	log.Warn("rebuilt: records that were not in the bucket are lost", "lost_from_offset", end, "local_end_before", local)
	return true
}

// drop ends p and removes its log: its topic was deleted, or its replica is another broker's now.
func (m *Manager) drop(p *Partition) {
	p.work.Lock()
	defer p.work.Unlock()
	m.unfollow(p)
	p.fail(kerr.UnknownTopicOrPartition)
	if l := p.log.Load(); l != nil {
		p.mu.Lock() // no append is under way
		defer p.mu.Unlock()
		if err := p.dir.Remove(l); err != nil {
			m.cfg.Logger.Error("removing a deleted partition failed", "topic", p.topic, "partition", p.key.Partition, "error", err)
		}
	}
}
