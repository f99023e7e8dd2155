package postgres_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/metadata/postgres"
)

// assigned makes broker id the controller and lets it assign the coordinator shards.
func assigned(t *testing.T, s *postgres.Store, id metadata.BrokerID) int64 {
	t.Helper()
	epoch := acquire(t, s, id, time.Minute)
	pass(t, s, epoch)
	return epoch
}

func ownsShards(im *metadata.Image, id metadata.BrokerID) bool {
	return slices.ContainsFunc(im.GroupShards, func(s metadata.Shard) bool { return s.Owner == id })
}

// A confirmed suspicion takes everything from a broker at once; its next heartbeat brings it back if it lives.
func TestFenceSuspect(t *testing.T) {
	s := open(t)
	b1, b2 := newBroker(1).join(t, s), newBroker(2).join(t, s)
	id := topic(t, s, "flights", ids{1, 2}, ids{1})
	old := assigned(t, s, 1)
	var wg sync.WaitGroup
	var fenced atomic.Int64
	for range 3 { // as several brokers do, but one is enough for a test
		wg.Go(func() {
			ok, err := s.FenceSuspect(t.Context(), metadata.Suspicion{By: 2, ByEpoch: b2.epoch, Suspect: 1, Epoch: b1.epoch})
			if err != nil {
				t.Error(err)
			}
			if ok {
				fenced.Add(1)
			}
		})
	}
	wg.Wait()
	im := snapshot(t, s)
	if fenced.Load() != 1 || im.Live(1) || im.Controller != metadata.NoBroker || ownsShards(im, 1) {
		t.Fatalf("fenced %d times, controller %d, %+v", fenced.Load(), im.Controller, im.Brokers[1])
	}
	if p := im.Topics[id].Partitions[0]; p.Leader != 2 || !slices.Equal(p.ISR, ids{2}) || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 {
		t.Errorf("shared: %+v", p)
	}
	if p := im.Topics[id].Partitions[1]; p.Leader != metadata.NoBroker || !slices.Equal(p.ISR, ids{1}) {
		t.Errorf("alone: %+v", p)
	}
	if r, err := s.RenewController(t.Context(), old, time.Minute); r.Held || err != nil {
		t.Error("the suspect still is the controller", err)
	}
	young := acquire(t, s, 2, time.Minute)
	b1.beat(t, s, time.Minute)
	pass(t, s, young)
	if im := snapshot(t, s); !im.Live(1) || im.Topics[id].Partitions[1].Leader != 1 {
		t.Errorf("it lives: %+v", im.Brokers[1])
	}
}

// Who is not live itself, or knows another epoch of the suspect, fences nobody.
func TestFenceSuspectRefuses(t *testing.T) {
	s := open(t)
	b1, b2, b3 := newBroker(1).join(t, s), newBroker(2).join(t, s), newBroker(3)
	epoch3, err := s.Register(t.Context(), b3.Registration) // fenced
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s).Version
	for name, c := range map[string]struct {
		by        metadata.BrokerID
		byEpoch   metadata.BrokerEpoch
		id        metadata.BrokerID
		suspected metadata.BrokerEpoch
	}{
		"earlier epoch of the suspect": {2, b2.epoch, 1, b1.epoch - 1},
		"earlier epoch of its own":     {2, b2.epoch - 1, 1, b1.epoch},
		"fenced itself":                {3, epoch3, 1, b1.epoch},
		"itself":                       {1, b1.epoch, 1, b1.epoch},
		"a fenced one":                 {1, b1.epoch, 3, epoch3},
		"nobody":                       {1, b1.epoch, 9, 1},
	} {
		if fenced, err := s.FenceSuspect(t.Context(), metadata.Suspicion{By: c.by, ByEpoch: c.byEpoch, Suspect: c.id, Epoch: c.suspected}); fenced || err != nil {
			t.Errorf("%s: %v, %v", name, fenced, err)
		}
	}
	if err := s.BeginShutdown(t.Context(), 1, b1.epoch); err != nil {
		t.Fatal(err)
	}
	if fenced, err := s.FenceSuspect(t.Context(), metadata.Suspicion{By: 2, ByEpoch: b2.epoch, Suspect: 1, Epoch: b1.epoch}); fenced || err != nil {
		t.Errorf("one that shuts down: %v, %v", fenced, err)
	}
	if after := snapshot(t, s).Version; after != before+1 {
		t.Errorf("version %d, after %d", after, before)
	}
}

// A silent broker is fenced only when its heartbeats stay away as well.
func TestFenceSilent(t *testing.T) {
	s := open(t)
	b1, b2 := newBroker(1).join(t, s), newBroker(2).join(t, s)
	x := metadata.Suspicion{By: 2, ByEpoch: b2.epoch, Suspect: 1, Epoch: b1.epoch, Unheard: time.Second}
	b1.beat(t, s, time.Minute)
	if fenced, err := s.FenceSuspect(t.Context(), x); fenced || err != nil {
		t.Fatal("a broker that has just sent a heartbeat was fenced", err)
	}
	await(t, "the fencing of a broker that has not been heard of for a second", func() bool {
		fenced, err := s.FenceSuspect(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		return fenced
	})
	if snapshot(t, s).Live(1) {
		t.Error("it is live")
	}
}

// A controlled shutdown in two steps: first what others can do goes to them, and then the rest ends.
func TestShutdownInStages(t *testing.T) {
	s := open(t)
	b1 := newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	id := topic(t, s, "flights", ids{1, 2}, ids{1}, ids{2, 1})
	old := assigned(t, s, 1)
	wantKafka(t, s.BeginShutdown(t.Context(), 1, b1.epoch-1), kerr.StaleBrokerEpoch)
	for range 2 {
		if err := s.BeginShutdown(t.Context(), 1, b1.epoch); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.RenewController(t.Context(), old, time.Minute); r.Held || err != nil {
		t.Error("still the controller", err)
	}
	young := acquire(t, s, 2, time.Minute)
	check := func(when string, fenced bool, alone metadata.BrokerID) {
		t.Helper()
		pass(t, s, young) // the controller sees nothing to mend
		im := snapshot(t, s)
		if b := im.Brokers[1]; b.Fenced != fenced || !b.InShutdown || ownsShards(im, 1) {
			t.Errorf("%s: %+v", when, b)
		}
		ps := im.Topics[id].Partitions
		if ps[0].Leader != 2 || !slices.Equal(ps[0].ISR, ids{2}) || ps[0].LeaderEpoch != 1 {
			t.Errorf("%s: led: %+v", when, ps[0])
		}
		if ps[1].Leader != alone || !slices.Equal(ps[1].ISR, ids{1}) {
			t.Errorf("%s: alone: %+v", when, ps[1])
		}
		if ps[2].Leader != 2 || !slices.Equal(ps[2].ISR, ids{2}) || ps[2].LeaderEpoch != 0 {
			t.Errorf("%s: followed: %+v", when, ps[2])
		}
	}
	check("shutting down", false, 1)
	if fenced, err := s.Heartbeat(t.Context(), 1, b1.epoch, 1<<40, time.Minute); fenced || err != nil {
		t.Error("heartbeat while shutting down", fenced, err)
	}
	check("after a heartbeat", false, 1)
	unregister(t, b1, s)
	check("gone", true, metadata.NoBroker)
}
