package tiering_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
	"varve/replica"
	"varve/tiering"
	"varve/tiering/file"
)

// A stack is a broker without its server: Postgres, a log on disk, a directory as bucket, and the tier at work on one topic of one partition.
type stack struct {
	t         *testing.T
	store     *postgres.Store
	bucket    *frail
	tier      *tiering.Manager
	partition *replica.Partition
	free      atomic.Int64 // bytes on the volume of the log directory
}

// startStack starts one with the topic's overrides set.
func startStack(t *testing.T, set map[string]string) *stack {
	t.Helper()
	s := &stack{t: t}
	s.free.Store(1 << 40)
	var err error
	if s.store, err = postgres.Open(t.Context(), postgres.Config{URL: testpg.URL(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.store.Close)
	directory, err := file.Open(t.Context(), &url.URL{Scheme: "file", Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.bucket = &frail{Bucket: directory, Manifest: s.store}
	s.bucket.breakCall(-1, false)
	dir, err := commitlog.OpenDir(t.TempDir(), commitlog.DirOptions{NodeID: 1, Durability: commitlog.Async})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })

	s.tier = tiering.New(tiering.Config{Self: 1, Bucket: s.bucket, Manifest: s.bucket, Ledger: s.store, TaskInterval: 5 * time.Millisecond,
		RetentionInterval: 5 * time.Millisecond, DeleteGrace: time.Millisecond, IntentGrace: time.Millisecond,
		MinFree: 1000, Space: func(string) (int64, int64) { return 1 << 40, s.free.Load() }})
	cfg, err := config.NewBroker(map[string]string{"node.id": "1", "varve.bucket.url": "file:///bucket"})
	if err != nil {
		t.Fatal(err)
	}
	partitions := replica.NewManager(replica.Config{Self: 1, Dirs: []*commitlog.Dir{dir}, Broker: func() *config.Broker { return cfg }, Store: s.store, Restorer: s.tier})
	t.Cleanup(partitions.Close)
	s.tier.SetPartitions(partitions)
	s.join(dir.ID(), partitions)

	made, err := s.store.CreateTopics(t.Context(), []metadata.NewTopic{{Name: "events", Assignment: [][]metadata.BrokerID{{1}}, Configs: set}}, false)
	if err := errors.Join(err, made[0].Err); err != nil {
		t.Fatal(err)
	}
	tp := metadata.TopicPartition{TopicID: made[0].ID}
	eventually(t, func() bool {
		s.partition, err = partitions.Partition(tp)
		return err == nil && s.partition.Leading()
	})
	return s
}

// join makes the broker a member of its cluster, until the test ends.
func (s *stack) join(dir metadata.DirID, partitions *replica.Manager) {
	s.t.Helper()
	publisher := metadata.NewPublisher(s.store, nil, nil)
	publisher.OnImage(partitions.Apply)
	node := metadata.NewNode(metadata.NodeConfig{Registration: metadata.Registration{ID: 1, Incarnation: uuid.New(), Host: "localhost", Port: 9092, Dirs: []metadata.DirID{dir}},
		Membership: s.store, Controllers: s.store, Publisher: publisher})
	s.background(publisher.Run)
	if err := node.Join(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.background(node.Run)
}

// background runs f until the test ends.
func (s *stack) background(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	stop = func() { cancel(); running.Wait() }
	s.t.Cleanup(stop)
	return stop
}

// produce appends a segment of ten records, of about size bytes, stamped now, and seals it.
func (s *stack) produce(size int) {
	s.t.Helper()
	b := record.NewBuilder()
	for i := range 10 {
		b.Add(time.Now().UnixMilli(), nil, bytes.Repeat([]byte{byte(i)}, size/10))
	}
	end := s.partition.Offsets().End + 10
	if _, err := s.partition.Append(b.Build(), -1, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() bool { return s.partition.Offsets().HighWatermark == end })
	if err := s.partition.RollIfDue(time.Now().Add(time.Hour), time.Minute); err != nil {
		s.t.Fatal(err)
	}
}

// live lists the live segments as Postgres has them.
func (s *stack) live() []metadata.RemoteSegment {
	s.t.Helper()
	rows, err := s.store.LiveSegments(s.t.Context(), s.partition.Key(), 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// objects lists the keys in the bucket.
func (s *stack) objects() []string {
	s.t.Helper()
	var keys []string
	if err := s.bucket.List(s.t.Context(), "", "", func(o tiering.ObjectInfo) bool { keys = append(keys, o.Key); return true }); err != nil {
		s.t.Fatal(err)
	}
	return keys
}

var errFrail = errors.New("the test broke it")

// frail is a bucket and a manifest whose calls are numbered: one of them fails, before or after it has done its work.
type frail struct {
	tiering.Bucket
	tiering.Manifest

	mu struct {
		sync.Mutex
		calls []string // the writing calls so far, and Stat
		fail  int      // index of the call that fails; -1: none
		after bool     // it fails after its work
	}
}

// breakCall lets the n-th call from now on fail.
func (f *frail) breakCall(n int, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.calls, f.mu.fail, f.mu.after = nil, n, after
}

func (f *frail) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.mu.calls...)
}

func (f *frail) do(call string, work func() error) error {
	f.mu.Lock()
	failing, after := len(f.mu.calls) == f.mu.fail, f.mu.after
	f.mu.calls = append(f.mu.calls, call)
	f.mu.Unlock()
	if failing && !after {
		return errFrail
	}
	if err := work(); err != nil {
		return err
	}
	if failing {
		return errFrail
	}
	return nil
}

func (f *frail) AddIntent(ctx context.Context, seg metadata.RemoteSegment) error {
	return f.do("intent", func() error { return f.Manifest.AddIntent(ctx, seg) })
}

func (f *frail) CommitSegment(ctx context.Context, seg metadata.RemoteSegment) error {
	return f.do("commit", func() error { return f.Manifest.CommitSegment(ctx, seg) })
}

func (f *frail) Put(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) error {
	return f.do("put "+key[len(key)-3:], func() error { return f.Bucket.Put(ctx, key, body, o) })
}

func (f *frail) Stat(ctx context.Context, key string) (info tiering.ObjectInfo, err error) {
	err = f.do("stat "+key[len(key)-3:], func() error { info, err = f.Bucket.Stat(ctx, key); return err })
	return info, err
}

// truncating is a store that says it holds one byte less than it was sent.
type truncating struct{ tiering.Bucket }

func (b truncating) Stat(ctx context.Context, key string) (tiering.ObjectInfo, error) {
	info, err := b.Bucket.Stat(ctx, key)
	info.Size--
	return info, err
}
