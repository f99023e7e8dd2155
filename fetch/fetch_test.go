package fetch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/metadata"
	"varve/replica"
)

type store struct{}

func (store) AssignDirs(_ context.Context, _ metadata.BrokerID, a []metadata.DirAssignment) ([]error, error) {
	return make([]error, len(a)), nil
}
func (store) LogLost(context.Context, metadata.TopicPartition, metadata.BrokerID) error { return nil }
func (store) SetRecovered(context.Context, metadata.TopicPartition, metadata.BrokerID, int32) error {
	return nil
}

// started returns a fetcher over topic "t" with two partitions, led in epoch 3.
func started(t *testing.T) (*Fetcher, [2]*replica.Partition) {
	t.Helper()
	d, err := commitlog.OpenDir(t.TempDir(), commitlog.DirOptions{ClusterID: "c", NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := config.NewBroker(map[string]string{"node.id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	m := replica.NewManager(replica.Config{Self: 1, Dirs: []*commitlog.Dir{d}, Broker: func() *config.Broker { return broker }, Store: store{}})
	t.Cleanup(func() { m.Close(); _ = d.Close() })
	topic := &metadata.Topic{ID: uuid.New(), Name: "t"}
	for i := range int32(2) {
		topic.Partitions = append(topic.Partitions, &metadata.Partition{TopicPartition: metadata.TopicPartition{TopicID: topic.ID, Partition: i},
			Leader: 1, LeaderEpoch: 3, Replicas: []metadata.BrokerID{1}, ISR: []metadata.BrokerID{1}, Dirs: []metadata.DirID{uuid.Nil}})
	}
	m.Apply(&metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{topic.ID: topic}})
	var partitions [2]*replica.Partition
	for i := range partitions {
		key := topic.Partitions[i].TopicPartition
		if !m.Waiters().Await(t.Context(), 10*time.Second, []metadata.TopicPartition{key}, func() bool {
			p, err := m.Partition(key)
			partitions[i] = p
			return err == nil && p.Leading()
		}) {
			t.Fatal("no leader")
		}
	}
	return New(m, nil), partitions
}

// put appends n records and returns when they are readable.
func put(t *testing.T, f *Fetcher, p *replica.Partition, n int) record.Batch {
	t.Helper()
	b := record.NewBuilder()
	for i := range n {
		b.Add(1000+int64(i), []byte("k"), []byte("v"))
	}
	batch := b.Build()
	a, err := p.Append(batch, -1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !f.partitions.Waiters().Await(t.Context(), 10*time.Second, []metadata.TopicPartition{p.Key()}, func() bool {
		return p.Offsets().HighWatermark > a.LastOffset
	}) {
		t.Fatal("not durable")
	}
	return batch
}

func ask(p *replica.Partition, offset int64) PartitionRequest {
	return PartitionRequest{TopicPartition: p.Key(), CurrentLeaderEpoch: -1, Offset: offset, LastFetchedEpoch: -1, MaxBytes: 1 << 20}
}

func TestErrorsOfOnePartition(t *testing.T) {
	f, p := started(t)
	put(t, f, p[0], 3)
	if err := p[0].SetLogStart(1); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*PartitionRequest)
		want   error
	}{
		"good":            {func(*PartitionRequest) {}, nil},
		"below the start": {func(q *PartitionRequest) { q.Offset = 0 }, kerr.OffsetOutOfRange},
		"beyond the end":  {func(q *PartitionRequest) { q.Offset = 4 }, kerr.OffsetOutOfRange},
		"at the end":      {func(q *PartitionRequest) { q.Offset = 3 }, nil},
		"old epoch":       {func(q *PartitionRequest) { q.CurrentLeaderEpoch = 2 }, kerr.FencedLeaderEpoch},
		"new epoch":       {func(q *PartitionRequest) { q.CurrentLeaderEpoch = 4 }, kerr.UnknownLeaderEpoch},
		"unknown history": {func(q *PartitionRequest) { q.LastFetchedEpoch = 99 }, kerr.OffsetOutOfRange},
		"unknown":         {func(q *PartitionRequest) { q.TopicPartition.Partition = 9 }, kerr.UnknownTopicOrPartition},
	} {
		q := ask(p[0], 1)
		c.change(&q)
		r := f.Fetch(t.Context(), &Request{MaxBytes: 1 << 20, Partitions: []PartitionRequest{q}})
		if !errors.Is(r[0].Err, c.want) {
			t.Errorf("%s: %v, want %v", name, r[0].Err, c.want)
		}
		Release(r)
	}
}

func TestALongPollEndsWithTheAppend(t *testing.T) {
	f, p := started(t)
	got := make(chan []PartitionResult)
	go func() {
		got <- f.Fetch(t.Context(), &Request{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []PartitionRequest{ask(p[0], 0), ask(p[1], 0)}})
	}()
	batch := put(t, f, p[1], 2)
	select {
	case r := <-got:
		defer Release(r)
		if r[0].Records.Bytes != 0 || r[1].Records.Bytes != len(batch) {
			t.Fatalf("%d and %d bytes", r[0].Records.Bytes, r[1].Records.Bytes)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the append woke nobody")
	}
}

// Only the first partition with data may pass the limits, so that a large batch can be read at all.
func TestOnlyTheFirstBatchMayPassTheLimits(t *testing.T) {
	f, p := started(t)
	first := put(t, f, p[0], 50)
	put(t, f, p[1], 50)
	r := f.Fetch(t.Context(), &Request{MaxBytes: 10, Partitions: []PartitionRequest{ask(p[0], 0), ask(p[1], 0)}})
	defer Release(r)
	if r[0].Records.Bytes != len(first) || r[1].Records.Bytes != 0 {
		t.Fatalf("%d and %d bytes, want %d and 0", r[0].Records.Bytes, r[1].Records.Bytes, len(first))
	}
}

func TestListOffsets(t *testing.T) {
	f, p := started(t)
	put(t, f, p[0], 3)
	for ts, want := range map[int64]commitlog.TimestampOffset{
		Latest: {Timestamp: -1, Offset: 3, LeaderEpoch: 3}, Earliest: {Timestamp: -1, Offset: 0, LeaderEpoch: 3},
		EarliestLocal: {Timestamp: -1, Offset: 0, LeaderEpoch: 3}, MaxTimestamp: {Timestamp: 1002, Offset: 2, LeaderEpoch: 3},
		LatestTiered: none, EarliestPendingUpload: none, 1001: {Timestamp: 1001, Offset: 1, LeaderEpoch: 3}, 5000: none,
	} {
		got, err := f.ListOffset(t.Context(), p[0].Key(), -1, ts, ReadUncommitted)
		if err != nil || got != want {
			t.Errorf("timestamp %d: %+v, %v, want %+v", ts, got, err, want)
		}
	}
	if _, err := f.ListOffset(t.Context(), p[0].Key(), -3, Latest, ReadUncommitted); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Error(err)
	}
}
