package replica

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
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
	// AssignDirs records where replicas are kept; index i of the result belongs to assignment i.
	AssignDirs(ctx context.Context, self metadata.BrokerID, assignments []metadata.DirAssignment) ([]error, error)
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

// restarters is how many replicas are begun anew at a time, each with a connection to its leader.
const restarters = 16

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

	restarting chan struct{} // one slot per replica that is being begun anew

	leaderQuota, followerQuota quota // of throttled replication

	isr      *isrWriter
	dirs     *dirWriter
	fetchers struct {
		sync.Mutex
		byID map[fetcherID]*fetcher
	}
	applied  bool // an image was; Apply's own
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
	m := &Manager{cfg: cfg, metrics: newMetrics(cfg.Registerer), opening: make(chan struct{}, openers), restarting: make(chan struct{}, restarters),
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
	m.dirs = &dirWriter{m: m, wake: make(chan struct{}, 1)}
	m.running.Go(m.dirs.run)
	m.cleaner = newCleaner(m)
	m.running.Go(m.cleaner.run)
	m.running.Go(scrubber{m}.run)
	return m
}

// Apply brings the partitions to what im says: opens, starts leading, stops, deletes. Called by one goroutine, in version order. Slow work
// (opening, restoring, Postgres) runs behind it.
func (m *Manager) Apply(im *metadata.Image) {
	was := m.image.Load()
	d := m.compare(was, im)
	m.adopt(d)
	if !m.applied {
		m.applied = true
		m.setAside()
	}
	m.image.Store(im)
	if !slices.EqualFunc(liveBrokers(was), liveBrokers(im), func(a, b metadata.Broker) bool { return a.ID == b.ID && a.Epoch == b.Epoch }) {
		m.isr.enqueueShort() // who caught up before it was live joins now
	}
	for _, p := range d.gone {
		m.startDrop(p)
	}
	for _, p := range d.changed {
		before := m.dropping[p.name()]
		m.running.Go(func() {
			if before != nil {
				<-before // a deleted topic of the same name still has the directory
			}
			m.reconcile(p)
		})
	}
}

// difference is what one image has and another has not, as far as it concerns this broker's replicas.
type difference struct{ come, changed, gone []*Partition }

// compare finds what im changes. Topics that an image shares with the one before are not looked at, unless a broker's settings may have changed them all.
func (m *Manager) compare(was, im *metadata.Image) (d difference) {
	here := *m.partitions.Load()
	all := !reflect.DeepEqual(was.BrokerConfigs, im.BrokerConfigs)
	for id, t := range im.Topics {
		if old := was.Topics[id]; old != t || all {
			m.compareTopic(&d, here, old, t)
		}
	}
	for id, old := range was.Topics {
		if im.Topics[id] == nil {
			for _, state := range old.Partitions {
				if p := here[state.TopicPartition]; p != nil {
					d.gone = append(d.gone, p)
				}
			}
		}
	}
	return d
}

func (m *Manager) compareTopic(d *difference, here map[metadata.TopicPartition]*Partition, old, t *metadata.Topic) {
	cfg := m.cfg.Topic(t.Configs)
	for i, state := range t.Partitions {
		p := here[state.TopicPartition]
		if !slices.Contains(state.Replicas, m.cfg.Self) {
			if p != nil {
				d.gone = append(d.gone, p)
			}
			continue
		}
		if p == nil {
			p = m.newPartition(t.Name, state.TopicPartition)
			d.come = append(d.come, p)
		} else if w := p.want.Load(); old != nil && i < len(old.Partitions) && old.Partitions[i] == state && *w.config == *cfg {
			continue
		}
		if w := p.want.Swap(&wanted{state, cfg}); w == nil || !same(w, state, cfg) {
			p.cfg.Store(cfg)
			d.changed = append(d.changed, p)
		}
	}
}

// adopt publishes the partitions that are here from now on.
func (m *Manager) adopt(d difference) {
	if len(d.come)+len(d.gone) == 0 {
		return
	}
	next := maps.Clone(*m.partitions.Load())
	for _, p := range d.gone {
		delete(next, p.key)
	}
	for _, p := range d.come {
		next[p.key] = p
	}
	m.partitions.Store(&next)
}

// setAside moves the logs away that are none of this broker's replicas any more.
func (m *Manager) setAside() {
	names := map[string]bool{}
	for _, p := range *m.partitions.Load() {
		names[p.name()] = true
	}
	for _, d := range m.cfg.Dirs {
		if _, err := d.SetAside(func(name string) bool { return names[name] }); err != nil {
			m.cfg.Logger.Error("stray logs could not be moved aside", "dir", d.Path(), "error", err)
		}
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
