package postgres_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/testpg"
	"varve/metadata"
)

func TestTwoProcessesWithOneBrokerID(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	conn := connect(t, url)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `SELECT * FROM meta_version FOR UPDATE`) // registrations stop at their last step
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Register(t.Context(), newBroker(1).Registration) })
	}
	awaitWaiting(t, url, len(errs))
	exec(t, conn, `COMMIT`)
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantKafka(t, err, kerr.DuplicateBrokerRegistration)
	}
	if won != 1 {
		t.Errorf("%d of %d registered", won, len(errs))
	}
}

// A successor fences its predecessor, whatever that one still sends.
func TestPredecessorIsFenced(t *testing.T) {
	s := open(t)
	old := newBroker(1).join(t, s)
	young := newBroker(1)
	young.Dirs = old.Dirs
	young.join(t, s)
	_, err := s.Heartbeat(t.Context(), 1, old.epoch, 1<<40, time.Minute)
	wantKafka(t, err, kerr.StaleBrokerEpoch)
	wantKafka(t, s.Unregister(t.Context(), 1, old.epoch), kerr.StaleBrokerEpoch)
	again := old.Registration
	again.Rejoin = true
	_, err = s.Register(t.Context(), again)
	wantKafka(t, err, kerr.DuplicateBrokerRegistration)
	if im := snapshot(t, s); !im.Live(1) || im.Brokers[1].Epoch != young.epoch {
		t.Errorf("%+v", im.Brokers[1])
	}
}

// A broker is unfenced only when it has seen its own registration.
func TestUnfencedWhenCaughtUp(t *testing.T) {
	s := open(t)
	b := newBroker(1)
	epoch, err := s.Register(t.Context(), b.Registration)
	if err != nil {
		t.Fatal(err)
	}
	fenced, err := s.Heartbeat(t.Context(), 1, epoch, int64(epoch)-1, time.Minute)
	if err != nil || !fenced || snapshot(t, s).Live(1) {
		t.Fatal(fenced, err)
	}
	fenced, err = s.Heartbeat(t.Context(), 1, epoch, int64(epoch), time.Minute)
	if err != nil || fenced || !snapshot(t, s).Live(1) {
		t.Fatal(fenced, err)
	}
	// The same process registering again, with another address: the epoch stays.
	b.Port = 9093
	same, err := s.Register(t.Context(), b.Registration)
	if im := snapshot(t, s); err != nil || same != epoch || !im.Live(1) || im.Brokers[1].Port != 9093 {
		t.Fatal(same, epoch, err, im.Brokers[1])
	}
}

// Heartbeats and commits of offsets do not make every broker load a new image.
func TestHeartbeatLeavesVersionAlone(t *testing.T) {
	s := open(t)
	b := newBroker(1).join(t, s)
	before := snapshot(t, s).Version
	b.beat(t, s, time.Minute)
	if after := snapshot(t, s).Version; after != before {
		t.Errorf("version went from %d to %d", before, after)
	}
}

func TestNewDiskLosesLeadership(t *testing.T) {
	s := open(t)
	b1, b2 := newBroker(1).join(t, s), newBroker(2).join(t, s)
	alone := metadata.TopicPartition{TopicID: topic(t, s, "alone", []metadata.BrokerID{1})}
	shared := metadata.TopicPartition{TopicID: topic(t, s, "shared", []metadata.BrokerID{1, 2})}
	for _, tp := range []metadata.TopicPartition{alone, shared} {
		if err := assignDir(t, s, tp, 1, b1.Dirs[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := assignDir(t, s, shared, 2, b2.Dirs[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Unregister(t.Context(), 1, b1.epoch); err != nil {
		t.Fatal(err)
	}
	reborn := newBroker(1).join(t, s)
	epoch, _, err := s.AcquireController(t.Context(), 2, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ControllerPass(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	im := snapshot(t, s)
	if p := im.Partition(alone); p.Leader != metadata.NoBroker || p.LeaderEpoch != 1 || len(p.ISR) != 1 {
		t.Errorf("an empty disk must not lead what it lost: %+v", p)
	}
	if p := im.Partition(shared); p.Leader != 2 || len(p.ISR) != 1 || p.ISR[0] != 2 {
		t.Errorf("the other replica leads: %+v", p)
	}
	// Neither may the broker put its new disk in the place of the lost one, as long as it counts as in sync.
	wantKafka(t, assignDir(t, s, alone, 1, reborn.Dirs[0]), kerr.KafkaStorageError)
	if err := assignDir(t, s, shared, 1, reborn.Dirs[0]); err != nil {
		t.Errorf("a replica out of sync may: %v", err)
	}

	// An unclean election gives the partition to the new disk, to be rebuilt.
	errs, err := s.ElectLeaders(t.Context(), metadata.ElectUnclean, []metadata.TopicPartition{alone})
	if err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	p := snapshot(t, s).Partition(alone)
	if p.Leader != 1 || p.LeaderEpoch != 2 || p.Recovery != metadata.Recovering || p.Dirs[0] != uuid.Nil {
		t.Errorf("%+v", p)
	}
	wantKafka(t, s.SetRecovered(t.Context(), alone, 1, 1), kerr.FencedLeaderEpoch)
	if err := s.SetRecovered(t.Context(), alone, 1, 2); err != nil {
		t.Fatal(err)
	}
	if p := snapshot(t, s).Partition(alone); p.Recovery != metadata.Recovered || p.Dirs[0] != reborn.Dirs[0] {
		t.Errorf("%+v", p)
	}
}

// TestLogLost: a replica whose log was removed from an online directory leads no more, until an unclean election gives it up.
func TestLogLost(t *testing.T) {
	s := open(t)
	b := newBroker(1).join(t, s)
	tp := metadata.TopicPartition{TopicID: topic(t, s, "alone", []metadata.BrokerID{1})}
	if err := assignDir(t, s, tp, 1, b.Dirs[0]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // to say it again changes nothing
		if err := s.LogLost(t.Context(), tp, 1); err != nil {
			t.Fatal(err)
		}
		if p := snapshot(t, s).Partition(tp); p.Leader != metadata.NoBroker || p.LeaderEpoch != 1 || len(p.ISR) != 1 || p.Dirs[0] == b.Dirs[0] {
			t.Fatalf("%+v", p)
		}
	}
	errs, err := s.ElectLeaders(t.Context(), metadata.ElectUnclean, []metadata.TopicPartition{tp})
	if err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	if p := snapshot(t, s).Partition(tp); p.Leader != 1 || p.Recovery != metadata.Recovering || p.Dirs[0] != uuid.Nil {
		t.Errorf("%+v", p)
	}
}

func TestAssignDirRefuses(t *testing.T) {
	s := open(t)
	b := newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	tp := metadata.TopicPartition{TopicID: topic(t, s, "flights", []metadata.BrokerID{1})}
	wantKafka(t, assignDir(t, s, tp, 1, uuid.New()), kerr.LogDirNotFound)
	wantKafka(t, assignDir(t, s, metadata.TopicPartition{TopicID: uuid.New()}, 1, b.Dirs[0]), kerr.UnknownTopicOrPartition)
	before := snapshot(t, s).Version
	for range 2 { // repeating is harmless and changes nothing
		if err := assignDir(t, s, tp, 1, b.Dirs[0]); err != nil {
			t.Fatal(err)
		}
	}
	if after := snapshot(t, s); after.Version != before+1 || after.Partition(tp).Dirs[0] != b.Dirs[0] {
		t.Errorf("version %d after %d, %+v", after.Version, before, after.Partition(tp))
	}
}
