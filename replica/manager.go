package replica

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/internal/config"
	"varve/internal/purgatory"
	"varve/metadata"
)

// Store is what the manager writes to the metadata. Implemented by metadata/postgres.
type Store interface {
	AssignDir(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, dir metadata.DirID) error
	SetRecovered(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32) error
	// LogLost records that the replica's log is gone although its directory is online.
	LogLost(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID) error
}

// Restorer rebuilds a partition from the bucket after an unclean election. Implemented by tiering.
type Restorer interface {
	// Restored returns where the live segments of tp end and the producer snapshot and leader epochs at that point.
	// end is 0 with no error when nothing is live.
	Restored(ctx context.Context, tp metadata.TopicPartition) (end int64, epochs []commitlog.EpochEntry, producerSnapshot []byte, err error)
	// StateAt returns the leader epochs and the producer snapshot at offset, where a live segment ends.
	StateAt(ctx context.Context, tp metadata.TopicPartition, offset int64) (epochs []commitlog.EpochEntry, producerSnapshot []byte, err error)
}

// Config of a Manager. Dialer, ISR and Epoch are needed as soon as a partition has a second replica.
type Config struct {
	Self   metadata.BrokerID
	Dirs   []*commitlog.Dir
	Broker func() *config.Broker // current, dynamic settings included
	// Topic resolves a topic's overrides; nil: Broker().Topic.
	Topic      func(overrides map[string]string) *config.Topic
	Store      Store
	ISR        ISRStore
	Dialer     Dialer
	Epoch      func() metadata.BrokerEpoch   // of this broker's registration
	OnLead     func(metadata.TopicPartition) // called before a partition leads in a new epoch; may be nil, must not block
	Suspect    func(metadata.BrokerID)       // told of brokers whose connections were refused or broke; may be nil, must not block
	Restorer   Restorer                      // nil without a bucket
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// openers is how many logs are opened at a time.
const openers = 8

// Manager owns every Partition of this broker and follows the metadata image.
type Manager struct {
	cfg     Config
	metrics *metrics
	waiters purgatory.Purgatory[metadata.TopicPartition]

	elsewhere Traffic // of partitions that are not here

	image      atomic.Pointer[metadata.Image]
	partitions atomic.Pointer[map[metadata.TopicPartition]*Partition] // replaced by Apply only

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	opening chan struct{} // one slot per log that is being opened

	isr      *isrWriter
	fetchers struct {
		sync.Mutex
		byID map[fetcherID]*fetcher
	}
	cleaner  *cleaner
	dropping map[string]chan struct{} // by directory name, closed when the old log is gone; Apply's own
}

// NewManager returns a manager without partitions.
func NewManager(cfg Config) *Manager {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Topic == nil {
		cfg.Topic = func(o map[string]string) *config.Topic { return cfg.Broker().Topic(o) }
	}
	m := &Manager{cfg: cfg, metrics: newMetrics(cfg.Registerer), opening: make(chan struct{}, openers),
		dropping: map[string]chan struct{}{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.image.Store(&metadata.Image{})
	m.partitions.Store(&map[metadata.TopicPartition]*Partition{})
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(newCollector(m))
	}
	m.fetchers.byID = map[fetcherID]*fetcher{}
	m.isr = newISRWriter(m)
	m.running.Go(m.isr.run)
	m.cleaner = newCleaner(m)
	m.running.Go(m.cleaner.run)
	m.running.Go(scrubber{m}.run)
	return m
}

// Apply brings the partitions to what im says: opens, starts leading, stops, deletes. Called by one goroutine, in version order. Slow work
// (opening, restoring, Postgres) runs behind it.
func (m *Manager) Apply(im *metadata.Image) {
	old := *m.partitions.Load()
	next := make(map[metadata.TopicPartition]*Partition, len(old))
	var changed []*Partition
	for _, t := range im.Topics {
		var cfg *config.Topic
		for _, state := range t.Partitions {
			if !slices.Contains(state.Replicas, m.cfg.Self) {
				continue
			}
			if cfg == nil {
				cfg = m.cfg.Topic(t.Configs)
			}
			p := old[state.TopicPartition]
			if p == nil {
				p = m.newPartition(t.Name, state.TopicPartition)
			}
			next[p.key] = p
			if was := p.want.Swap(&wanted{state, cfg}); was == nil || !same(was, state, cfg) {
				p.cfg.Store(cfg)
				changed = append(changed, p)
			}
		}
	}
	m.partitions.Store(&next)
	was := m.image.Swap(im)
	if !slices.EqualFunc(liveBrokers(was), liveBrokers(im), func(a, b metadata.Broker) bool { return a.ID == b.ID && a.Epoch == b.Epoch }) {
		m.isr.enqueueShort() // who caught up before it was live joins now
	}
	for key, p := range old {
		if next[key] == nil {
			m.startDrop(p)
		}
	}
	for _, p := range changed {
		before := m.dropping[p.name()]
		m.running.Go(func() {
			if before != nil {
				<-before // a deleted topic of the same name still has the directory
			}
			m.reconcile(p)
		})
	}
}

// liveBrokers lists the live brokers by id.
func liveBrokers(im *metadata.Image) (live []metadata.Broker) {
	for id, b := range im.Brokers {
		if im.Live(id) {
			live = append(live, *b)
		}
	}
	slices.SortFunc(live, func(a, b metadata.Broker) int { return int(a.ID - b.ID) })
	return live
}

// startDrop ends p behind Apply. Whoever opens a log of the same name waits for it.
func (m *Manager) startDrop(p *Partition) {
	for name, done := range m.dropping {
		select {
		case <-done:
			delete(m.dropping, name)
		default:
		}
	}
	p.removed.Store(true)
	done := make(chan struct{})
	m.dropping[p.name()] = done
	m.running.Go(func() {
		defer close(done)
		m.drop(p)
	})
}

func (m *Manager) newPartition(topic string, key metadata.TopicPartition) *Partition {
	p := &Partition{key: key, topic: topic, manager: m, rebuilt: -1}
	p.role.Store(&role{epoch: -1, leader: metadata.NoBroker})
	return p
}

// same reports whether nothing that concerns the replica differs.
func same(was *wanted, s *metadata.Partition, cfg *config.Topic) bool {
	o := was.state
	return o.LeaderEpoch == s.LeaderEpoch && o.PartitionEpoch == s.PartitionEpoch && o.Leader == s.Leader && o.Recovery == s.Recovery &&
		o.LogStartOffset == s.LogStartOffset && slices.Equal(o.Dirs, s.Dirs) && slices.Equal(o.ISR, s.ISR) && *was.config == *cfg
}

// Close stops background work. It does not close the Dirs.
func (m *Manager) Close() {
	m.cancel()
	m.running.Wait()
}

// Partition returns the partition: UNKNOWN_TOPIC_OR_PARTITION when the image has none, NOT_LEADER_OR_FOLLOWER when this broker has no replica or it is not ready,
// KAFKA_STORAGE_ERROR when its directory failed.
func (m *Manager) Partition(tp metadata.TopicPartition) (*Partition, error) {
	p := (*m.partitions.Load())[tp]
	switch {
	case p == nil && m.image.Load().Partition(tp) == nil:
		return nil, kerr.UnknownTopicOrPartition
	case p == nil:
		return nil, kerr.NotLeaderForPartition
	case p.failed.Load() != nil:
		return nil, *p.failed.Load()
	case p.log.Load() == nil:
		return nil, kerr.NotLeaderForPartition
	}
	return p, nil
}

// Each calls f for every partition that this broker leads.
func (m *Manager) Each(f func(*Partition)) {
	for _, p := range *m.partitions.Load() {
		if p.Leading() {
			f(p)
		}
	}
}

// All calls f for every partition whose log is open here and works.
func (m *Manager) All(f func(*Partition)) {
	for _, p := range *m.partitions.Load() {
		if p.log.Load() != nil && p.failed.Load() == nil {
			f(p)
		}
	}
}

// Waiters is touched with a partition's key whenever its durable end, high watermark, log start or leadership changes.
func (m *Manager) Waiters() *purgatory.Purgatory[metadata.TopicPartition] { return &m.waiters }

// Fail takes the partitions of a failed log directory out of service. It is what commitlog.DirOptions.Failed is to call.
func (m *Manager) Fail(dir metadata.DirID, reason error) {
	for _, p := range *m.partitions.Load() {
		if l := p.log.Load(); l != nil && p.dir.ID() == dir {
			p.fail(reason)
		}
	}
}

// retry calls f until it succeeds or the manager closes, with growing pauses. False: closed.
func (m *Manager) retry(p *Partition, doing string, f func() error) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := f()
		if err == nil {
			return true
		}
		if p.removed.Load() || m.ctx.Err() != nil {
			return false
		}
		m.cfg.Logger.Warn("will be tried again", "doing", doing, "topic", p.topic, "partition", p.key.Partition, "error", err)
		select {
		case <-time.After(pause):
		case <-m.ctx.Done():
			return false
		}
	}
}
