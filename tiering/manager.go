package tiering

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/internal/vfs"
	"varve/metadata"
	"varve/replica"
)

// Config of a Manager.
type Config struct {
	Self       metadata.BrokerID
	ClusterID  uuid.UUID
	Bucket     Bucket // nil: no tier, only local retention
	Manifest   Manifest
	Ledger     Ledger
	Partitions *replica.Manager
	// TaskInterval (remote.log.manager.task.interval.ms, 30 s) is how often sealed segments are looked for, RetentionInterval
	// (log.retention.check.interval.ms, 5 min) how often retention is applied. Local trimming goes with the shorter of the two.
	TaskInterval, RetentionInterval time.Duration
	Uploads                         int           // partitions uploading at a time, default 4
	DeleteGrace                     time.Duration // before a doomed segment's objects go, default 2 min
	IntentGrace                     time.Duration // before an unfinished upload's objects go, default 1 h
	// MinFree (varve.log.dir.free.min.bytes) is what is kept free on the volume of a log directory by trimming uploaded segments before local
	// retention would; negative: a tenth of the volume, at most 10 GiB. Space reports a volume's size and what is free; nil: the volume's own.
	MinFree    int64
	Space      func(path string) (total, usable int64)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Manager uploads, trims, retains and sweeps for the partitions that this broker leads. Run does the work; everything else is safe for
// concurrent use.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	catalog *catalog

	// By Run's own goroutine: what lasts is logged when it begins and when it ends.
	failing map[metadata.TopicPartition]bool
	pressed map[string]bool // log directories with too little space
}

// New returns a Manager. Its reads (TieredEnd, Restored) work before Run. Partitions may be set until Run: the partitions' manager needs
// this one to restore.
func New(cfg Config) *Manager {
	cfg.TaskInterval = cmp.Or(cfg.TaskInterval, 30*time.Second)
	cfg.RetentionInterval = cmp.Or(cfg.RetentionInterval, 5*time.Minute)
	cfg.Uploads = cmp.Or(cfg.Uploads, 4)
	cfg.DeleteGrace = cmp.Or(cfg.DeleteGrace, deleteGrace)
	cfg.IntentGrace = cmp.Or(cfg.IntentGrace, intentGrace)
	if cfg.Space == nil {
		cfg.Space = vfs.Space
	}
	m := &Manager{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), catalog: newCatalog(cfg.Manifest),
		failing: map[metadata.TopicPartition]bool{}, pressed: map[string]bool{}}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

// Led is to be called when a partition takes up a new leader epoch here: what is known of its live segments may be another leader's past. From that epoch on
// nobody else changes them.
func (m *Manager) Led(tp metadata.TopicPartition) { m.catalog.forget(tp) }

// SetPartitions gives the manager its partitions, before Run.
func (m *Manager) SetPartitions(p *replica.Manager) { m.cfg.Partitions = p }

// TieredEnd is one past the highest offset of tp that is live in the bucket, as far as it is known here; 0: none.
func (m *Manager) TieredEnd(tp metadata.TopicPartition) int64 {
	rows, _ := m.catalog.get(tp)
	return tieredEnd(rows)
}

// RemoteBytes is what the live segments of tp hold, as far as it is known here.
func (m *Manager) RemoteBytes(tp metadata.TopicPartition) int64 {
	rows, _ := m.catalog.get(tp)
	n := int64(0)
	for i := range rows {
		n += rows[i].LogBytes + rows[i].IdxBytes
	}
	return n
}

// Run works until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var retained time.Time
	for ctx.Err() == nil {
		if m.cfg.Bucket != nil {
			m.uploadPass(ctx)
		}
		m.retainPass(ctx)
		m.relieve(ctx)
		if m.cfg.Bucket != nil && time.Since(retained) >= m.cfg.RetentionInterval {
			retained = time.Now()
			if err := m.sweep(ctx); err != nil && ctx.Err() == nil {
				m.metrics.errors.WithLabelValues("sweep").Inc()
				m.log.Warn("sweeping the bucket will be tried again", "error", err)
			}
		}
		pause(ctx, min(m.cfg.TaskInterval, m.cfg.RetentionInterval))
	}
}

// pause waits for d, give or take a tenth, so that brokers do not work in step.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d - d/20 + rand.N(d/10+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// uploadPass repairs what is damaged of every led partition and uploads what is new, several at a time, and waits for all.
func (m *Manager) uploadPass(ctx context.Context) {
	var running sync.WaitGroup
	slots := make(chan struct{}, m.cfg.Uploads)
	failed := map[metadata.TopicPartition]error{}
	var mu sync.Mutex // guards failed
	led := map[metadata.TopicPartition]bool{}
	m.cfg.Partitions.Each(func(p *replica.Partition) {
		led[p.Key()] = true
		if p.Log().Untouched() {
			return
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			if err := errors.Join(m.repairPartition(ctx, p), m.uploadPartition(ctx, p)); err != nil && ctx.Err() == nil {
				mu.Lock()
				failed[p.Key()] = err
				mu.Unlock()
			}
		})
	})
	running.Wait()
	m.catalog.keep(func(tp metadata.TopicPartition) bool { return led[tp] })
	for tp, err := range failed {
		m.metrics.errors.WithLabelValues("copy").Inc()
		if !m.failing[tp] {
			m.log.Warn("an upload failed and will be tried again", "partition", tp.String(), "error", err)
		}
		m.failing[tp] = true
	}
	for tp := range m.failing {
		if failed[tp] == nil {
			m.log.Info("uploads go on", "partition", tp.String())
			delete(m.failing, tp)
		}
	}
	m.measureLag()
}

// rows returns the live segments of p. A log of which no segment was ever sealed has none: a broker that starts with thousands of quiet partitions does not
// ask Postgres about each.
func (m *Manager) rows(ctx context.Context, p *replica.Partition) ([]metadata.RemoteSegment, error) {
	if l := p.Log(); l.Sealed() == 0 && l.LocalStart() == 0 {
		return nil, nil
	}
	return m.catalog.ensure(ctx, p.Key())
}

// measureLag sums what is sealed and not yet live.
func (m *Manager) measureLag() {
	segments, bytes := 0, int64(0)
	m.cfg.Partitions.Each(func(p *replica.Partition) {
		if !p.Config().RemoteStorage || p.Log().Sealed() == 0 {
			return
		}
		tiered := m.TieredEnd(p.Key())
		for _, s := range p.Log().Segments() {
			if s.Sealed && s.EndOffset > tiered {
				segments, bytes = segments+1, bytes+s.Bytes
			}
		}
	})
	m.metrics.lagSegments.Set(float64(segments))
	m.metrics.lagBytes.Set(float64(bytes))
}

// retainPass applies retention to every led partition, and what its leader decided to every other replica.
func (m *Manager) retainPass(ctx context.Context) {
	m.cfg.Partitions.All(func(p *replica.Partition) {
		if ctx.Err() != nil {
			return
		}
		retain := m.retain
		if !p.Leading() {
			retain = m.retainFollower
		}
		if err := retain(ctx, p); err != nil && ctx.Err() == nil {
			m.metrics.errors.WithLabelValues("retention").Inc()
			m.log.Warn("retention will be tried again", "topic", p.Topic(), "partition", p.Key().Partition, "error", err)
		}
	})
}
