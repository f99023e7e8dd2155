package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// member is a broker's metadata side: store, publisher and node, running.
type member struct {
	store     *postgres.Store
	publisher *metadata.Publisher
	node      *metadata.Node
	stop      func() // ends Run and waits, without Leave: as a killed process
}

func startMember(t *testing.T, url string, r metadata.Registration, edits ...func(*metadata.NodeConfig)) *member {
	t.Helper()
	m := &member{store: openURL(t, url)}
	m.publisher = metadata.NewPublisher(m.store, nil, nil)
	cfg := metadata.NodeConfig{Registration: r, Membership: m.store, Controllers: m.store, Publisher: m.publisher}
	for _, edit := range edits {
		edit(&cfg)
	}
	m.node = metadata.NewNode(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	m.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(m.stop)
	wg.Go(func() { m.publisher.Run(ctx) })
	if err := m.node.Join(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { m.node.Run(ctx) })
	return m
}

// eventually waits for a condition on the image of m.
func (m *member) eventually(t *testing.T, what string, ok func(*metadata.Image) bool) {
	t.Helper()
	await(t, what, func() bool { return ok(m.publisher.Image()) })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

// A broker joins, becomes controller, is killed and comes back at once: with the same directories nothing has to
// expire first.
func TestNodeComesBackAtOnce(t *testing.T) {
	url := testpg.URL(t)
	b := newBroker(1)
	first := startMember(t, url, b.Registration)
	first.eventually(t, "shards", func(im *metadata.Image) bool { return im.GroupShards[0].Owner == 1 })
	id := topic(t, first.store, "flights", []metadata.BrokerID{1})
	first.eventually(t, "topic", func(im *metadata.Image) bool { return im.Topics[id] != nil })
	first.stop()

	started := time.Now()
	again := newBroker(1)
	again.Dirs = b.Dirs
	second := startMember(t, url, again.Registration)
	second.eventually(t, "leader", func(im *metadata.Image) bool {
		p := im.Topics[id].Partitions[0]
		return p.Leader == 1 && p.LeaderEpoch == 2 && im.GroupShards[7].Owner == 1
	})
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if !second.node.IsController() || !second.node.LeaseValid(time.Now()) {
		t.Error("not controller or no lease")
	}
	second.stop()
	if err := second.node.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	im := snapshot(t, first.store)
	if im.Live(1) || im.Controller != metadata.NoBroker || im.Topics[id].Partitions[0].Leader != metadata.NoBroker {
		t.Errorf("left traces: %+v", im.Brokers[1])
	}
}

// Postgres goes away for longer than a session and comes back: nobody is fenced, the image stays, work goes on.
func TestNodeSurvivesOutage(t *testing.T) {
	t.Parallel()
	pg := testpg.Server(t)
	b := newBroker(1)
	m := startMember(t, pg.URL(), b.Registration)
	m.eventually(t, "shards", func(im *metadata.Image) bool { return im.GroupShards[0].Owner == 1 })
	id := topic(t, m.store, "flights", []metadata.BrokerID{1})
	m.eventually(t, "topic", func(im *metadata.Image) bool { return im.Topics[id] != nil })
	pg.Stop()
	started := time.Now()
	_, err := m.store.CreateTopics(t.Context(), []metadata.NewTopic{{Name: "x"}}, false)
	if took := time.Since(started); err == nil || took > 3*time.Second {
		t.Fatalf("%v after %v", err, took)
	}
	if m.publisher.Image().Topics[id] == nil {
		t.Fatal("image lost")
	}
	pg.Start()
	id2 := topic(t, m.store, "again", []metadata.BrokerID{1})
	m.eventually(t, "second topic", func(im *metadata.Image) bool { return im.Topics[id2] != nil })
	if p := m.publisher.Image().Topics[id].Partitions[0]; p.Leader != 1 || p.LeaderEpoch != 0 {
		t.Errorf("%+v", p)
	}
}
