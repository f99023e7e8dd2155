package postgres_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// acquire makes id the controller, whoever was.
func acquire(t *testing.T, s *postgres.Store, id metadata.BrokerID, ttl time.Duration) int64 {
	t.Helper()
	var epoch int64
	await(t, "controller", func() bool {
		e, ok, err := s.AcquireController(t.Context(), id, ttl)
		if err != nil {
			t.Fatal(err)
		}
		epoch = e
		return ok
	})
	return epoch
}

func pass(t *testing.T, s *postgres.Store, epoch int64) {
	t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = s.ControllerPass(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneController(t *testing.T) {
	url := testpg.URL(t)
	var winners atomic.Int64
	var wg sync.WaitGroup
	for id := range metadata.BrokerID(6) {
		s := openURL(t, url)
		wg.Go(func() {
			if _, ok, err := s.AcquireController(t.Context(), id, time.Minute); err != nil {
				t.Error(err)
			} else if ok {
				winners.Add(1)
			}
		})
	}
	wg.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d controllers", winners.Load())
	}
}

// A deposed controller that does not know it yet can change nothing.
func TestDeposedController(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	old := acquire(t, s, 1, time.Millisecond)
	young := acquire(t, s, 2, time.Minute)
	if young != old+1 {
		t.Errorf("epochs %d, %d", old, young)
	}
	_, err := s.ControllerPass(t.Context(), old)
	wantKafka(t, err, kerr.NotController)
	if r, err := s.RenewController(t.Context(), old, time.Minute); r.Held || err != nil {
		t.Error(r, err)
	}
	if r, err := s.RenewController(t.Context(), young, time.Minute); !r.Held || r.SessionExpired || err != nil {
		t.Error(r, err)
	}
	if im := snapshot(t, s); im.GroupShards[0].Owner != metadata.NoBroker || im.Controller != 2 {
		t.Error("the old one assigned shards", im.GroupShards[0], im.Controller)
	}
	pass(t, s, young)
	if im := snapshot(t, s); im.GroupShards[0].Owner != 1 {
		t.Error(im.GroupShards[0])
	}
}

// A silent broker is fenced; its partitions and shards go to others, and come back with it.
func TestFencingAndReturn(t *testing.T) {
	s := open(t)
	b1, b2 := newBroker(1).join(t, s), newBroker(2).join(t, s)
	shared := metadata.TopicPartition{TopicID: topic(t, s, "shared", []metadata.BrokerID{1, 2})}
	alone := metadata.TopicPartition{TopicID: topic(t, s, "alone", []metadata.BrokerID{1})}
	epoch := acquire(t, s, 2, time.Minute)
	pass(t, s, epoch)
	if im := snapshot(t, s); im.GroupShards[0].Owner == im.GroupShards[49].Owner {
		t.Error("shards are not spread", im.GroupShards)
	}

	b1.beat(t, s, time.Millisecond)
	b2.beat(t, s, time.Minute)
	await(t, "broker 1 fenced", func() bool { pass(t, s, epoch); return !snapshot(t, s).Live(1) })
	im := snapshot(t, s)
	if p := im.Partition(shared); p.Leader != 2 || len(p.ISR) != 1 || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 {
		t.Errorf("%+v", p)
	}
	if p := im.Partition(alone); p.Leader != metadata.NoBroker || len(p.ISR) != 1 {
		t.Errorf("%+v", p)
	}
	for i, shard := range im.GroupShards {
		if shard.Owner != 2 {
			t.Errorf("shard %d: %+v", i, shard)
		}
	}

	b1.beat(t, s, time.Minute)
	pass(t, s, epoch)
	if p := snapshot(t, s).Partition(alone); p.Leader != 1 || p.LeaderEpoch != 2 {
		t.Errorf("%+v", p)
	}
}

// After an outage every session looks expired. Nobody is fenced for what nobody could prevent.
func TestFullSessionsAfterOutage(t *testing.T) {
	for name, resume := range map[string]func(*testing.T, *postgres.Store, int64) int64{
		"a new controller": func(t *testing.T, s *postgres.Store, _ int64) int64 { return acquire(t, s, 2, time.Minute) },
		"the same, renewing": func(t *testing.T, s *postgres.Store, old int64) int64 {
			if r, err := s.RenewController(t.Context(), old, time.Minute); !r.Held || r.SessionExpired || err != nil {
				t.Fatal(r, err)
			}
			return old
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := testpg.URL(t)
			s := openURL(t, url)
			newBroker(1).join(t, s)
			newBroker(2).join(t, s)
			epoch := acquire(t, s, 1, time.Minute)
			exec(t, connect(t, url), `UPDATE broker_lease SET expires_at = clock_timestamp() - interval '1 minute'`)
			exec(t, connect(t, url), `UPDATE controller_lease SET expires_at = clock_timestamp() - interval '1 minute'`)
			_, err := s.ControllerPass(t.Context(), epoch) // before it has renewed
			wantKafka(t, err, kerr.NotController)
			pass(t, s, resume(t, s, epoch))
			if im := snapshot(t, s); !im.Live(1) || !im.Live(2) {
				t.Error("fenced", im.Brokers[1], im.Brokers[2])
			}
		})
	}
}

// unclean.leader.election.enable lets the controller elect by itself: on the topic, as the cluster's dynamic default,
// or as the broker's own settings say.
func TestUncleanByConfiguration(t *testing.T) {
	yes := "true"
	for name, enable := range map[string]func(*testing.T, *postgres.Store, *postgres.Config){
		"topic": func(t *testing.T, s *postgres.Store, _ *postgres.Config) {
			alter(t, s, metadata.ConfigResource{Topic: "t"}, metadata.ConfigEdit{Name: "unclean.leader.election.enable", Value: &yes})
		},
		"cluster": func(t *testing.T, s *postgres.Store, _ *postgres.Config) {
			alter(t, s, metadata.ConfigResource{Broker: metadata.NoBroker}, metadata.ConfigEdit{Name: "unclean.leader.election.enable", Value: &yes})
		},
		"broker": func(_ *testing.T, _ *postgres.Store, c *postgres.Config) {
			c.Unclean = func(map[string]string) bool { return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := postgres.Config{URL: testpg.URL(t)}
			s := openURL(t, cfg.URL)
			b := newBroker(1).join(t, s)
			tp := metadata.TopicPartition{TopicID: topic(t, s, "t", []metadata.BrokerID{1})}
			if err := assignDir(t, s, tp, 1, b.Dirs[0]); err != nil {
				t.Fatal(err)
			}
			if err := s.Unregister(t.Context(), 1, b.epoch); err != nil {
				t.Fatal(err)
			}
			newBroker(1).join(t, s)
			epoch := acquire(t, s, 1, time.Minute)
			pass(t, s, epoch)
			if p := snapshot(t, s).Partition(tp); p.Leader != metadata.NoBroker {
				t.Fatalf("elected without permission: %+v", p)
			}
			enable(t, s, &cfg)
			again, err := postgres.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			pass(t, again, epoch)
			if p := snapshot(t, s).Partition(tp); p.Leader != 1 || p.Recovery != metadata.Recovering {
				t.Errorf("%+v", p)
			}
		})
	}
}

func alter(t *testing.T, s *postgres.Store, res metadata.ConfigResource, edits ...metadata.ConfigEdit) {
	t.Helper()
	if err := s.AlterConfigs(t.Context(), res, edits, false); err != nil {
		t.Fatal(err)
	}
}
