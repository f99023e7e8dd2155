package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/metadata"
)

const self = metadata.BrokerID(1)

// ledger is a Store that remembers, and fails while down.
type ledger struct {
	down      atomic.Bool
	assigned  atomic.Int32
	recovered atomic.Int32
	lost      atomic.Int32
}

func (s *ledger) AssignDirs(_ context.Context, _ metadata.BrokerID, a []metadata.DirAssignment) ([]error, error) {
	if s.down.Load() {
		return nil, kerr.RequestTimedOut
	}
	s.assigned.Add(int32(len(a)))
	return make([]error, len(a)), nil
}

func (s *ledger) LogLost(context.Context, metadata.TopicPartition, metadata.BrokerID) error {
	s.lost.Add(1)
	return nil
}

func (s *ledger) SetRecovered(context.Context, metadata.TopicPartition, metadata.BrokerID, int32) error {
	if s.down.Load() {
		return kerr.RequestTimedOut
	}
	s.recovered.Add(1)
	return nil
}

func openDir(t *testing.T, path string) *commitlog.Dir {
	t.Helper()
	d, err := commitlog.OpenDir(path, commitlog.DirOptions{ClusterID: "c", NodeID: int32(self)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newManager(t *testing.T, store Store, dirs ...*commitlog.Dir) *Manager {
	t.Helper()
	broker, err := config.NewBroker(map[string]string{"node.id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return NewManager(Config{Self: self, Dirs: dirs, Broker: func() *config.Broker { return broker }, Store: store})
}

// image has topic "t" with one partition, led by this broker alone.
func image(id metadata.TopicID, epoch int32, dir metadata.DirID, change func(*metadata.Partition)) *metadata.Image {
	p := &metadata.Partition{TopicPartition: metadata.TopicPartition{TopicID: id}, Leader: self, LeaderEpoch: epoch, PartitionEpoch: epoch,
		Replicas: []metadata.BrokerID{self}, ISR: []metadata.BrokerID{self}, Dirs: []metadata.DirID{dir}}
	if change != nil {
		change(p)
	}
	topic := &metadata.Topic{ID: id, Name: "t", Partitions: []*metadata.Partition{p}}
	return &metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{id: topic}, ByName: map[string]*metadata.Topic{"t": topic}}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func leading(t *testing.T, m *Manager, id metadata.TopicID, epoch int32) *Partition {
	t.Helper()
	var p *Partition
	eventually(t, "leadership", func() (ok bool) {
		found, err := m.Partition(metadata.TopicPartition{TopicID: id})
		p = found
		return err == nil && p.Leading() && p.LeaderEpoch() == epoch
	})
	return p
}

func batch() record.Batch {
	return record.NewBuilder().Add(1, []byte("k"), []byte("v")).Add(2, []byte("k"), []byte("v")).Build()
}

func mustAppend(t *testing.T, p *Partition) {
	t.Helper()
	if _, err := p.Append(batch(), -1, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestANewPartitionLeadsAndAcknowledgesWhatIsDurable(t *testing.T) {
	d := openDir(t, t.TempDir())
	defer d.Close()
	store, id := &ledger{}, uuid.New()
	m := newManager(t, store, d)
	defer m.Close()
	m.Apply(image(id, 3, uuid.Nil, nil))
	p := leading(t, m, id, 3)
	mustAppend(t, p)
	if !m.Waiters().Await(t.Context(), 10*time.Second, []metadata.TopicPartition{p.Key()}, func() bool { ok, _ := p.Acked(2, -1); return ok }) {
		t.Fatal("the batch was never acknowledged")
	}
	if p.Log().Durable() < 2 || p.Offsets().HighWatermark != 2 || store.assigned.Load() != 1 {
		t.Fatalf("durable %d, offsets %+v, assigned %d times", p.Log().Durable(), p.Offsets(), store.assigned.Load())
	}
	for epoch, want := range map[int32]error{-1: nil, 3: nil, 2: kerr.FencedLeaderEpoch, 4: kerr.UnknownLeaderEpoch} {
		if err := p.CheckLeader(epoch); !errors.Is(err, want) {
			t.Errorf("epoch %d: %v, want %v", epoch, err, want)
		}
	}
}

// Records that were taken before Postgres knows the directory could vanish with the disk and nobody would notice.
func TestNothingIsLedBeforePostgresKnowsTheDirectory(t *testing.T) {
	d := openDir(t, t.TempDir())
	defer d.Close()
	store, id := &ledger{}, uuid.New()
	store.down.Store(true)
	m := newManager(t, store, d)
	defer m.Close()
	m.Apply(image(id, 0, uuid.Nil, nil))
	eventually(t, "the log", func() bool { _, err := m.Partition(metadata.TopicPartition{TopicID: id}); return err == nil })
	if p, _ := m.Partition(metadata.TopicPartition{TopicID: id}); p.Leading() {
		t.Fatal("leads while Postgres is down")
	}
	store.down.Store(false)
	leading(t, m, id, 0)
}

func TestALostLogIsOfflineNeverEmpty(t *testing.T) {
	path, id := t.TempDir(), uuid.New()
	d := openDir(t, path)
	m := newManager(t, &ledger{}, d)
	m.Apply(image(id, 0, uuid.Nil, nil))
	mustAppend(t, leading(t, m, id, 0))
	m.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(path, "t-0")); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path)
	defer d.Close()
	lost := &ledger{}
	m = newManager(t, lost, d)
	defer m.Close()
	m.Apply(image(id, 1, d.ID(), nil))
	eventually(t, "KAFKA_STORAGE_ERROR", func() bool {
		_, err := m.Partition(metadata.TopicPartition{TopicID: id})
		return errors.Is(err, kerr.KafkaStorageError)
	})
	eventually(t, "the loss to be recorded", func() bool { return lost.lost.Load() == 1 })
	if d.Len() != 0 {
		t.Fatalf("made %d logs", d.Len())
	}
	// An unclean election gives the lost log up.
	m.Apply(image(id, 2, uuid.Nil, func(p *metadata.Partition) { p.Recovery = metadata.Recovering }))
	mustAppend(t, leading(t, m, id, 2))
}

func TestAnUncleanLeaderRebuildsOnceAndOnlyThenLeads(t *testing.T) {
	d := openDir(t, t.TempDir())
	defer d.Close()
	store, id := &ledger{}, uuid.New()
	store.down.Store(true)
	m := newManager(t, store, d)
	defer m.Close()
	recovering := func(p *metadata.Partition) { p.Recovery, p.LogStartOffset = metadata.Recovering, 7 }
	m.Apply(image(id, 5, d.ID(), recovering))
	eventually(t, "the reset", func() bool {
		p, err := m.Partition(metadata.TopicPartition{TopicID: id})
		return err == nil && p.Log().End() == 7
	})
	if p, _ := m.Partition(metadata.TopicPartition{TopicID: id}); p.Leading() {
		t.Fatal("leads before Postgres knows that it is rebuilt")
	}
	store.down.Store(false)
	p := leading(t, m, id, 5)
	mustAppend(t, p)
	m.Apply(image(id, 5, d.ID(), func(p *metadata.Partition) { recovering(p); p.PartitionEpoch++ })) // a late image
	m.Apply(image(id, 6, d.ID(), func(p *metadata.Partition) { p.LogStartOffset = 7 }))
	if p := leading(t, m, id, 6); p.Log().End() != 9 || store.recovered.Load() != 1 {
		t.Fatalf("log end %d, recovered %d times", p.Log().End(), store.recovered.Load())
	}
}

func TestATopicMadeAgainUnderItsNameStartsEmpty(t *testing.T) {
	d := openDir(t, t.TempDir())
	defer d.Close()
	m := newManager(t, &ledger{}, d)
	defer m.Close()
	old, id := uuid.New(), uuid.New()
	m.Apply(image(old, 0, uuid.Nil, nil))
	mustAppend(t, leading(t, m, old, 0))
	m.Apply(&metadata.Image{})
	m.Apply(image(id, 0, uuid.Nil, nil))
	if p := leading(t, m, id, 0); p.Log().End() != 0 || p.Log().TopicID() != id {
		t.Fatalf("end %d", p.Log().End())
	}
	if _, err := m.Partition(metadata.TopicPartition{TopicID: old}); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatal(err)
	}
}

// A follower may lack what only the leader has on disk.
func TestTheHighWatermarkWaitsForEveryInSyncReplica(t *testing.T) {
	d := openDir(t, t.TempDir())
	defer d.Close()
	m := newManager(t, &ledger{}, d)
	defer m.Close()
	id := uuid.New()
	m.Apply(image(id, 0, uuid.Nil, func(p *metadata.Partition) {
		p.Replicas, p.ISR, p.Dirs = append(p.Replicas, 2), append(p.ISR, 2), append(p.Dirs, uuid.Nil)
	}))
	p := leading(t, m, id, 0)
	mustAppend(t, p)
	eventually(t, "the leader's own disk", func() bool { ok, _ := p.Acked(2, 1); return ok })
	if ok, _ := p.Acked(2, -1); ok || p.Offsets().HighWatermark != 0 {
		t.Fatal("acknowledged without the follower")
	}
}
