package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/fetch"
	"varve/internal/config"
	"varve/internal/vfs"
	"varve/metadata"
	"varve/replica"
	"varve/replica/transport"
)

// A miniature is a cluster in one process: logs, replication, sockets and the fetch protocol are real; the metadata is one image, which the test changes and
// hands to the brokers that are to know of it.
type miniature struct {
	t     *testing.T
	nodes map[metadata.BrokerID]*miniBroker

	mu struct {
		sync.Mutex
		im    *metadata.Image
		blind map[metadata.BrokerID]bool // brokers that hear of no change
	}
}

type miniBroker struct {
	id    metadata.BrokerID
	parts *replica.Manager
	disk  sync.RWMutex // locked: no sync ends
}

func newMiniature(t *testing.T, n int, settings map[string]string) *miniature {
	m := &miniature{t: t, nodes: map[metadata.BrokerID]*miniBroker{}}
	m.mu.blind = map[metadata.BrokerID]bool{}
	m.mu.im = &metadata.Image{ClusterID: uuid.New(), Controller: 1, Brokers: map[metadata.BrokerID]*metadata.Broker{}, Topics: map[metadata.TopicID]*metadata.Topic{},
		ByName: map[string]*metadata.Topic{}}
	for id := metadata.BrokerID(1); id <= metadata.BrokerID(n); id++ {
		m.start(id, t.TempDir(), settings)
	}
	return m
}

// start runs a broker over the log directory at path.
func (m *miniature) start(id metadata.BrokerID, path string, settings map[string]string) *miniBroker {
	m.t.Helper()
	n := &miniBroker{id: id}
	d, err := commitlog.OpenDir(path, commitlog.DirOptions{ClusterID: "c", NodeID: int32(id), FS: vfs.Hooked(func(op vfs.Op) error {
		if op.Kind == vfs.Sync {
			n.disk.RLock() // waits while the test holds the disk
			defer n.disk.RUnlock()
		}
		return nil
	})})
	if err != nil {
		m.t.Fatal(err)
	}
	cfg := newBroker(m.t, settings)
	n.parts = replica.NewManager(replica.Config{Self: id, Dirs: []*commitlog.Dir{d}, Broker: func() *config.Broker { return cfg }, Store: m, ISR: m,
		Dialer: transport.Dialer{}, Epoch: func() metadata.BrokerEpoch { return 1 }, Logger: slog.New(slog.NewTextHandler(m.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	m.t.Cleanup(func() {
		n.parts.Close()
		if err := d.Close(); err != nil {
			m.t.Error(err)
		}
	})
	_, addr := startServer(m.t, Config{Self: id, Image: m.image, Partitions: n.parts, Fetcher: fetch.New(n.parts, nil), Followers: fetch.NewFollowers(n.parts, nil)})
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	m.mu.Lock()
	m.mu.im.Brokers[id] = &metadata.Broker{ID: id, Epoch: 1, Host: host, Port: int32(number), Dirs: []metadata.DirID{d.ID()}}
	m.mu.Unlock()
	m.nodes[id] = n
	return n
}

func (m *miniature) image() *metadata.Image {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.im
}

// change makes the next image from the partitions of topic, and hands it out.
func (m *miniature) change(topic string, f func(p *metadata.Partition)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changeLocked(topic, f)
}

func (m *miniature) changeLocked(topic string, f func(p *metadata.Partition)) {
	next := *m.mu.im
	next.Version++
	next.Topics, next.ByName = map[metadata.TopicID]*metadata.Topic{}, map[string]*metadata.Topic{}
	for _, t := range m.mu.im.Topics {
		if t.Name == topic {
			changed := *t
			changed.Partitions = nil
			for _, p := range t.Partitions {
				q := *p
				f(&q)
				changed.Partitions = append(changed.Partitions, &q)
			}
			t = &changed
		}
		next.Topics[t.ID], next.ByName[t.Name] = t, t
	}
	m.mu.im = &next
	for id, n := range m.nodes {
		if !m.mu.blind[id] {
			n.parts.Apply(&next)
		}
	}
}

// create makes a topic of partitions led by replicas[0], all in sync, and waits until it is led.
func (m *miniature) create(topic string, partitions int, configs map[string]string, replicas ...metadata.BrokerID) metadata.TopicID {
	m.t.Helper()
	t := &metadata.Topic{ID: uuid.New(), Name: topic, Configs: configs}
	for p := range partitions {
		t.Partitions = append(t.Partitions, &metadata.Partition{TopicPartition: metadata.TopicPartition{TopicID: t.ID, Partition: int32(p)}, Leader: replicas[0],
			Replicas: replicas, ISR: slices.Clone(replicas), Dirs: make([]metadata.DirID, len(replicas))})
	}
	m.mu.Lock()
	m.mu.im.Topics[t.ID] = t
	m.mu.Unlock()
	m.change(topic, func(*metadata.Partition) {})
	for p := range partitions {
		m.leader(t.ID, int32(p))
	}
	return t.ID
}

// partition returns a broker's replica.
func (m *miniature) partition(id metadata.BrokerID, topic metadata.TopicID, p int32) *replica.Partition {
	m.t.Helper()
	var part *replica.Partition
	eventually(m.t, fmt.Sprintf("partition %d on broker %d", p, id), func() (ok bool) {
		found, err := m.nodes[id].parts.Partition(metadata.TopicPartition{TopicID: topic, Partition: p})
		part = found
		return err == nil
	})
	return part
}

// leader waits until the partition is led by whom the image says, in its epoch.
func (m *miniature) leader(topic metadata.TopicID, p int32) *replica.Partition {
	m.t.Helper()
	s := m.image().Partition(metadata.TopicPartition{TopicID: topic, Partition: p})
	part := m.partition(s.Leader, topic, p)
	eventually(m.t, "leadership", func() bool { return part.Leading() && part.LeaderEpoch() == s.LeaderEpoch })
	return part
}

// AlterISR implements replica.ISRStore by the rules of the controller.
func (m *miniature) AlterISR(_ context.Context, self metadata.BrokerID, _ metadata.BrokerEpoch, changes []metadata.ISRChange) ([]metadata.ISROutcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []metadata.ISROutcome
	for _, c := range changes {
		next, err := metadata.AlterISR(m.mu.im.Partition(c.TopicPartition), c, self, m.mu.im.Brokers, 1)
		out = append(out, metadata.ISROutcome{Partition: next, Err: err})
		if err == nil {
			m.changeLocked(m.mu.im.Topics[c.TopicID].Name, func(p *metadata.Partition) {
				if p.TopicPartition == c.TopicPartition {
					*p = *next
				}
			})
		}
	}
	return out, nil
}

// AssignDirs, SetRecovered and LogLost make the miniature a replica.Store; no story needs what they record.
func (m *miniature) AssignDirs(_ context.Context, _ metadata.BrokerID, a []metadata.DirAssignment) ([]error, error) {
	return make([]error, len(a)), nil
}
func (m *miniature) SetRecovered(context.Context, metadata.TopicPartition, metadata.BrokerID, int32) error {
	return nil
}
func (m *miniature) LogLost(context.Context, metadata.TopicPartition, metadata.BrokerID) error {
	return nil
}

// produce appends one batch per value and returns the end; it does not wait.
func produce(t *testing.T, p *replica.Partition, values ...string) int64 {
	t.Helper()
	end := int64(0)
	for _, v := range values {
		done, err := p.Append(record.NewBuilder().Add(1, nil, []byte(v)).Build(), -1, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		end = done.LastOffset + 1
	}
	return end
}

func acked(t *testing.T, p *replica.Partition, end int64) {
	t.Helper()
	eventually(t, "acknowledgement", func() bool { ok, err := p.Acked(end, -1); return ok && err == nil })
}

// stored reads all bytes of a log.
func stored(t *testing.T, p *replica.Partition) []byte {
	t.Helper()
	var out []byte
	l := p.Log()
	for offset := l.LocalStart(); offset < l.End(); {
		s, err := l.Read(offset, l.End(), 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range s.Pieces {
			if piece.File == nil {
				out = append(out, piece.Mem...)
				continue
			}
			b := make([]byte, piece.Len)
			if _, err := piece.File.ReadAt(b, piece.Pos); err != nil {
				t.Fatal(err)
			}
			out = append(out, b...)
		}
		s.Release()
		for rest := record.Whole(out); len(rest) > 0; rest = rest[record.Batch(rest).Size():] {
			offset = record.Batch(rest).LastOffset() + 1
		}
		out = record.Whole(out)
	}
	return out
}

func sameLogs(t *testing.T, a, b *replica.Partition) {
	t.Helper()
	eventually(t, "equal log ends", func() bool { return a.Log().End() == b.Log().End() })
	if !bytes.Equal(stored(t, a), stored(t, b)) {
		t.Fatal("the replicas differ")
	}
}

// TestAcknowledgedIsOnEveryInSyncDisk: what is acknowledged is durable on all three; followers learn the high watermark.
func TestAcknowledgedIsOnEveryInSyncDisk(t *testing.T) {
	m := newMiniature(t, 3, nil)
	id := m.create("t", 1, nil, 1, 2, 3)
	p := m.leader(id, 0)
	for i := range 50 {
		end := produce(t, p, fmt.Sprint("record ", i))
		acked(t, p, end)
		for b := metadata.BrokerID(1); b <= 3; b++ {
			if d := m.partition(b, id, 0).Log().Durable(); d < end {
				t.Fatalf("broker %d has %d of %d acknowledged offsets on its disk", b, d, end)
			}
		}
	}
	for b := metadata.BrokerID(2); b <= 3; b++ {
		f := m.partition(b, id, 0)
		sameLogs(t, p, f)
		eventually(t, "the follower's high watermark", func() bool { return f.Offsets().HighWatermark == p.Offsets().HighWatermark })
	}
}

// TestAnAcknowledgementWaitsForTheFollowersDisk: that a follower has the bytes is not enough.
func TestAnAcknowledgementWaitsForTheFollowersDisk(t *testing.T) {
	m := newMiniature(t, 2, nil)
	id := m.create("t", 1, nil, 1, 2)
	p, follower := m.leader(id, 0), m.partition(2, id, 0)
	acked(t, p, produce(t, p, "before"))
	m.nodes[2].disk.Lock()
	end := produce(t, p, "held")
	eventually(t, "the follower to have the bytes", func() bool { return follower.Log().End() == end })
	for until := time.Now().Add(700 * time.Millisecond); time.Now().Before(until); time.Sleep(10 * time.Millisecond) { // longer than a fetch waits
		if ok, _ := p.Acked(end, -1); ok {
			t.Error("acknowledged before it was on the follower's disk")
			break
		}
	}
	m.nodes[2].disk.Unlock()
	acked(t, p, end)
}

// TestAFollowerWhoseDiskHangsLeavesTheISR: acknowledgements go on without it, and it returns with all records when its disk does.
func TestAFollowerWhoseDiskHangsLeavesTheISR(t *testing.T) {
	m := newMiniature(t, 3, map[string]string{"replica.lag.time.max.ms": "500"})
	id := m.create("t", 1, nil, 1, 2, 3)
	p := m.leader(id, 0)
	acked(t, p, produce(t, p, "before"))
	m.nodes[3].disk.Lock()
	acked(t, p, produce(t, p, "while it hangs"))
	if isr := m.image().Partition(metadata.TopicPartition{TopicID: id}).ISR; !slices.Equal(isr, []metadata.BrokerID{1, 2}) {
		t.Errorf("acknowledged with the ISR %v", isr)
	}
	acked(t, p, produce(t, p, "and still"))
	m.nodes[3].disk.Unlock()
	eventually(t, "its return", func() bool { return len(m.image().Partition(metadata.TopicPartition{TopicID: id}).ISR) == 3 })
	sameLogs(t, p, m.partition(3, id, 0))
}

// TestADeposedLeaderIsTruncatedToItsSuccessor: the old leader took records that nobody copied; it acknowledges none of them, and as a follower drops them.
func TestADeposedLeaderIsTruncatedToItsSuccessor(t *testing.T) {
	m := newMiniature(t, 2, map[string]string{"replica.lag.time.max.ms": "600000"})
	id := m.create("t", 1, nil, 1, 2)
	old := m.leader(id, 0)
	acked(t, old, produce(t, old, "a", "b", "c"))

	m.mu.Lock()
	m.mu.blind[1] = true // a zombie: it goes on leading
	m.mu.Unlock()
	m.change("t", func(p *metadata.Partition) {
		p.Leader, p.LeaderEpoch, p.PartitionEpoch = 2, p.LeaderEpoch+1, p.PartitionEpoch+1
	})
	leader := m.leader(id, 0)
	lost := produce(t, old, "only here", "and here")
	if ok, _ := old.Acked(lost, -1); ok {
		t.Fatal("a deposed leader acknowledged what its in-sync follower does not have")
	}
	m.mu.Lock()
	m.mu.blind[1] = false
	m.mu.Unlock()
	m.change("t", func(*metadata.Partition) {})
	eventually(t, "the old leader's resignation", func() bool { return !old.Leading() })
	if _, err := old.Acked(lost, -1); err == nil {
		t.Fatal("a producer waits on for a leader that is none")
	}
	end := produce(t, leader, "d", "e", "f")
	acked(t, leader, end)
	sameLogs(t, leader, old)
	if bytes.Contains(stored(t, old), []byte("only here")) {
		t.Fatal("a record that the leader does not have is still there")
	}
}

// TestAFollowerBeginsWhereItsLeadersLogBegins: an empty replica of a log whose beginning is gone.
func TestAFollowerBeginsWhereItsLeadersLogBegins(t *testing.T) {
	m := newMiniature(t, 2, nil)
	id := m.create("t", 1, map[string]string{"segment.bytes": "1048576"}, 1)
	p := m.leader(id, 0)
	big := string(make([]byte, 300<<10))
	acked(t, p, produce(t, p, big, big, big, big, big, big, big, big))
	start := p.Log().Segments()[1].EndOffset
	if err := p.SetLogStart(start); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Trim(start); err != nil {
		t.Fatal(err)
	}
	m.change("t", func(q *metadata.Partition) {
		q.Replicas, q.Dirs, q.PartitionEpoch, q.LogStartOffset = []metadata.BrokerID{1, 2}, make([]metadata.DirID, 2), q.PartitionEpoch+1, start
	})
	f := m.partition(2, id, 0)
	sameLogs(t, p, f)
	if f.Log().LocalStart() != start {
		t.Fatalf("the follower begins at %d, its leader at %d", f.Log().LocalStart(), start)
	}
	eventually(t, "both in sync", func() bool {
		return len(m.image().Partition(metadata.TopicPartition{TopicID: id}).ISR) == 2
	})
}

// TestANewPartitionDoesNotWaitForTheLongPoll: the follower's fetch waits at the leader for ten seconds when a second topic comes.
func TestANewPartitionDoesNotWaitForTheLongPoll(t *testing.T) {
	m := newMiniature(t, 2, map[string]string{"replica.fetch.wait.max.ms": "10000"})
	first := m.create("first", 1, nil, 1, 2)
	acked(t, m.leader(first, 0), produce(t, m.leader(first, 0), "x"))
	began := time.Now()
	second := m.create("second", 1, nil, 1, 2)
	p := m.leader(second, 0)
	acked(t, p, produce(t, p, "y"))
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("the new partition was copied after %v", took)
	}
	acked(t, m.leader(first, 0), produce(t, m.leader(first, 0), "z"))
}

// TestBusyPartitionsShareAnAnswer: with answers that hold two batches, no partition starves.
func TestBusyPartitionsShareAnAnswer(t *testing.T) {
	m := newMiniature(t, 2, map[string]string{"replica.fetch.response.max.bytes": "2500"})
	const partitions = 20
	id := m.create("t", partitions, nil, 1, 2)
	value := string(make([]byte, 1000))
	ends := make([]int64, partitions)
	for range 10 {
		for p := range partitions {
			ends[p] = produce(t, m.leader(id, int32(p)), value)
		}
	}
	for p := range partitions {
		acked(t, m.leader(id, int32(p)), ends[p])
		sameLogs(t, m.leader(id, int32(p)), m.partition(2, id, int32(p)))
	}
}

// TestNewsAreForTheLatestRequest: an earlier request of the session that is still being answered must not take what the next one asked for.
func TestNewsAreForTheLatestRequest(t *testing.T) {
	m := newMiniature(t, 1, nil)
	id := m.create("t", 1, nil, 1)
	p := m.leader(id, 0)
	acked(t, p, produce(t, p, "x"))
	m.change("t", func(q *metadata.Partition) {
		q.Replicas, q.Dirs, q.PartitionEpoch = []metadata.BrokerID{1, 2}, make([]metadata.DirID, 2), q.PartitionEpoch+1
	})
	eventually(t, "the second replica to be known", func() bool { _, n := p.ISR(); return n == 2 })
	f := fetch.NewFollowers(m.nodes[1].parts, nil)
	begin := func(req fetch.FollowerRequest, parts ...fetch.PartitionRequest) *fetch.FollowerFetch {
		req.Broker, req.Client, req.MaxBytes, req.MaxWait, req.Partitions = 2, "c", 1000, time.Minute, parts
		x, err := f.Begin(t.Context(), &req, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := begin(fetch.FollowerRequest{})
	waited := make(chan int, 1)
	go func() { waited <- len(first.Wait(t.Context())) }()
	second := begin(fetch.FollowerRequest{SessionID: first.Session(), SessionEpoch: 1}, fetch.PartitionRequest{TopicPartition: metadata.TopicPartition{TopicID: id},
		CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1000})
	if n := <-waited; n != 0 {
		t.Errorf("the first request took %d results", n)
	}
	if results := first.Ready(time.Now()); len(results) != 0 {
		t.Error("the first request took what the second asked for")
	}
	if results := second.Ready(time.Now()); len(results) != 1 || results[0].Err != nil || results[0].Records.Bytes == 0 {
		t.Errorf("the second request got %+v", results)
	}
}

// TestStaleFollowersAreRefused: by leader epoch, and when the image does not know the replica.
func TestStaleFollowersAreRefused(t *testing.T) {
	m := newMiniature(t, 2, nil)
	id := m.create("t", 1, nil, 1)
	f := fetch.NewFollowers(m.nodes[1].parts, nil)
	ask := func(epoch int32) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		x, err := f.Begin(ctx, &fetch.FollowerRequest{Broker: 2, Client: "c", MaxBytes: 1000, Partitions: []fetch.PartitionRequest{{
			TopicPartition: metadata.TopicPartition{TopicID: id}, CurrentLeaderEpoch: epoch, LastFetchedEpoch: -1, MaxBytes: 1000}}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		results := x.Ready(time.Now())
		if len(results) != 1 {
			t.Fatalf("%d results", len(results))
		}
		return results[0].Err
	}
	if err := ask(0); !errors.Is(err, kerr.UnknownLeaderEpoch) {
		t.Fatalf("a broker without a replica: %v", err)
	}
	m.change("t", func(p *metadata.Partition) { p.LeaderEpoch, p.PartitionEpoch = 4, 4 })
	m.leader(id, 0)
	if err := ask(3); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Fatalf("an older leader epoch: %v", err)
	}
	if err := ask(5); !errors.Is(err, kerr.UnknownLeaderEpoch) {
		t.Fatalf("a newer leader epoch: %v", err)
	}
}

// TestReadersFindANearReplica: a leader sends a reader on another rack to the in-sync follower there, which serves it up to its own high watermark (KIP-392).
func TestReadersFindANearReplica(t *testing.T) {
	m := newMiniature(t, 2, nil)
	m.mu.Lock()
	m.mu.im.Brokers[1].Rack, m.mu.im.Brokers[2].Rack = "a", "b"
	m.mu.Unlock()
	id := m.create("t", 1, nil, 1, 2)
	p, follower := m.leader(id, 0), m.partition(2, id, 0)
	end := produce(t, p, "x", "y")
	acked(t, p, end)
	read := func(b metadata.BrokerID, rack string, old bool) fetch.PartitionResult {
		q := &fetch.Request{MaxBytes: 1 << 20, Rack: rack, FromFollower: !old, Partitions: []fetch.PartitionRequest{{TopicPartition: metadata.TopicPartition{TopicID: id},
			CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20}}}
		results := fetch.New(m.nodes[b].parts, nil).Fetch(t.Context(), q)
		t.Cleanup(func() { fetch.Release(results) })
		return results[0]
	}
	for rack, near := range map[string]bool{"a": false, "b": true, "c": false, "": false} {
		if r := read(1, rack, false); (r.Near != nil) != near || near && (*r.Near != 2 || r.Records.Bytes > 0) || !near && r.Records.Bytes == 0 {
			t.Errorf("rack %q: %+v", rack, r)
		}
	}
	eventually(t, "the follower's high watermark", func() bool { return follower.Offsets().HighWatermark == end })
	if r := read(2, "b", false); r.Err != nil || r.Records.Bytes != int(p.Log().Size()) {
		t.Errorf("from the follower: %+v", r)
	}
	if r := read(2, "b", true); !errors.Is(r.Err, kerr.NotLeaderForPartition) {
		t.Errorf("an old reader at a follower: %+v", r)
	}
}

// TestThrottledReplication: a new replica that a reassignment throttles is copied at the rate, on either side; one in sync is not throttled.
func TestThrottledReplication(t *testing.T) {
	for _, side := range []string{"leader", "follower"} {
		m := newMiniature(t, 2, map[string]string{side + ".replication.throttled.rate": "200000", "replica.fetch.max.bytes": "50000"})
		id := m.create("t", 1, map[string]string{side + ".replication.throttled.replicas": "*"}, 1)
		p := m.leader(id, 0)
		value := string(make([]byte, 10_000))
		for range 40 {
			acked(t, p, produce(t, p, value)) // 400 kB: two seconds
		}
		began := time.Now()
		m.change("t", func(q *metadata.Partition) {
			q.Replicas, q.Dirs, q.PartitionEpoch = []metadata.BrokerID{1, 2}, make([]metadata.DirID, 2), q.PartitionEpoch+1
		})
		sameLogs(t, p, m.partition(2, id, 0))
		if took := time.Since(began); took < 1200*time.Millisecond || took > 10*time.Second {
			t.Errorf("throttled by the %s: copied in %v, not in about two seconds", side, took)
		}
		eventually(t, "both in sync", func() bool { return len(m.image().Partition(metadata.TopicPartition{TopicID: id}).ISR) == 2 })
		began = time.Now()
		for range 40 {
			acked(t, p, produce(t, p, value))
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("throttled by the %s: 400 kB to an in-sync replica in %v", side, took)
		}
	}
}
