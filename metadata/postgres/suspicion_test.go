package postgres_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/internal/testpg"
	"varve/metadata"
)

// probed makes a node's probes answer what alive says.
func probed(alive *atomic.Bool, probes *atomic.Int64) func(*metadata.NodeConfig) {
	return func(c *metadata.NodeConfig) {
		c.Probe = func(context.Context, *metadata.Broker) metadata.Vital {
			probes.Add(1)
			if alive.Load() {
				return metadata.Alive
			}
			return metadata.Dead
		}
	}
}

func controlledBy(id metadata.BrokerID) func(*metadata.Image) bool {
	return func(im *metadata.Image) bool { return im.Controller == id && ownsShards(im, id) }
}

// The controller is killed. Nobody waits for its session or its lease: the broker whose connection was refused fences
// it, leads what it led, and is the controller.
func TestSuspicionOfTheController(t *testing.T) {
	url := testpg.URL(t)
	var alive atomic.Bool
	var probes atomic.Int64
	m1 := startMember(t, url, newBroker(1).Registration)
	m1.eventually(t, "controller", controlledBy(1))
	m2 := startMember(t, url, newBroker(2).Registration, probed(&alive, &probes))
	id := topic(t, m1.store, "flights", ids{1, 2})
	m2.eventually(t, "topic", func(im *metadata.Image) bool { return im.Topics[id] != nil })
	m1.stop()

	began := time.Now()
	m2.node.Suspect(1)
	m2.eventually(t, "leader", func(im *metadata.Image) bool { return im.Topics[id].Partitions[0].Leader == 2 })
	t.Logf("leader after %v", time.Since(began))
	m2.eventually(t, "controller", func(im *metadata.Image) bool { return controlledBy(2)(im) && !ownsShards(im, 1) })
	took := time.Since(began)
	t.Logf("controller with all shards after %v", took)
	if took > 900*time.Millisecond || !m2.node.IsController() {
		t.Errorf("took %v, with a lease of 3 s", took)
	}
	if probes.Load() != 2 {
		t.Errorf("%d probes", probes.Load())
	}
}

// A suspicion that is wrong, though probes confirmed it, costs a heartbeat, and is not repeated.
func TestWrongSuspicion(t *testing.T) {
	url := testpg.URL(t)
	var alive atomic.Bool
	var probes atomic.Int64
	reg := prometheus.NewRegistry()
	m1 := startMember(t, url, newBroker(1).Registration)
	m2 := startMember(t, url, newBroker(2).Registration, probed(&alive, &probes), func(c *metadata.NodeConfig) { c.Registerer = reg })
	m2.eventually(t, "both live", func(im *metadata.Image) bool { return im.Live(1) && im.Live(2) })
	epoch := m1.node.Epoch()

	alive.Store(true)
	m2.node.Suspect(1)
	await(t, "a probe", func() bool { return probes.Load() == 1 })
	alive.Store(false)

	began := time.Now()
	m2.node.Suspect(1)
	await(t, "three probes", func() bool { return probes.Load() == 3 })
	version := func() int64 { return snapshot(t, m2.store).Version }
	await(t, "fenced once", func() bool { return fencedSuspects(t, reg) == 1 })
	m2.eventually(t, "back", func(im *metadata.Image) bool { return im.Live(1) && im.Version == version() })
	if took := time.Since(began); took > time.Second || m1.node.Epoch() != epoch {
		t.Errorf("back after %v with epoch %d, was %d", took, m1.node.Epoch(), epoch)
	}
	// Again and again, in the same epoch: it is not even probed.
	for range 3 {
		m2.node.Suspect(1)
	}
	m3 := startMember(t, url, newBroker(3).Registration)
	m2.eventually(t, "another broker", func(im *metadata.Image) bool { return im.Live(3) })
	m3.stop()
	m2.node.Suspect(3) // looked into after those
	await(t, "its probes", func() bool { return probes.Load() == 5 && fencedSuspects(t, reg) == 2 })
	if !snapshot(t, m2.store).Live(1) {
		t.Error("fenced again")
	}
	// A new process is another matter.
	m1.stop()
	again := newBroker(1)
	again.Incarnation, again.Dirs = uuid.New(), m1.publisher.Image().Brokers[1].Dirs
	m4 := startMember(t, url, again.Registration)
	m2.eventually(t, "reborn", func(im *metadata.Image) bool { return im.Live(1) && im.Brokers[1].Epoch == m4.node.Epoch() })
	m4.stop()
	m2.node.Suspect(1)
	m2.eventually(t, "fenced", func(im *metadata.Image) bool { return !im.Live(1) })
}

func fencedSuspects(t *testing.T, reg *prometheus.Registry) int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "varve_metadata_suspects_fenced_total" {
			return int(f.Metric[0].GetCounter().GetValue())
		}
	}
	return 0
}

// A controller that leaves is followed at once by another.
func TestTakeoverAtOnce(t *testing.T) {
	url := testpg.URL(t)
	m1 := startMember(t, url, newBroker(1).Registration)
	m1.eventually(t, "controller", controlledBy(1))
	m2 := startMember(t, url, newBroker(2).Registration)
	m2.eventually(t, "joined", func(im *metadata.Image) bool { return im.Live(2) && ownsShards(im, 2) })
	began := time.Now()
	if err := m1.node.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if im := m1.publisher.Image(); im.Live(1) || im.Brokers[1].Fenced || m1.node.IsController() {
		t.Errorf("%+v", im.Brokers[1])
	}
	m2.eventually(t, "controller", func(im *metadata.Image) bool { return controlledBy(2)(im) && !ownsShards(im, 1) })
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	m1.stop()
	if err := m1.node.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	if im := snapshot(t, m2.store); !im.Brokers[1].Fenced || im.Controller != 2 {
		t.Errorf("%+v", im.Brokers[1])
	}
}

// A controller that dies without a word is followed when its lease ends, not a tick later.
func TestTakeoverAfterLease(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	m1 := startMember(t, url, newBroker(1).Registration)
	m1.eventually(t, "controller", controlledBy(1))
	m2 := startMember(t, url, newBroker(2).Registration)
	m1.stop()
	began := time.Now()
	m2.eventually(t, "controller", func(im *metadata.Image) bool { return im.Controller == 2 })
	if took := time.Since(began); took > 3800*time.Millisecond {
		t.Errorf("took %v, with a lease of 3 s", took)
	}
}
