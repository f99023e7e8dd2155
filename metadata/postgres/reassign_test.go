package postgres_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/metadata/postgres"
)

// reassign changes the replicas of one partition; no target cancels.
func reassign(t *testing.T, s *postgres.Store, tp metadata.TopicPartition, want *kerr.Error, target ...metadata.BrokerID) {
	t.Helper()
	errs, err := s.AlterReassignments(t.Context(), []metadata.ReassignmentChange{{TopicPartition: tp, Target: target}}, true)
	if err != nil {
		t.Fatal(err)
	}
	wantKafka(t, errs[0], want)
}

func moves(p *metadata.Partition) string {
	return fmt.Sprintf("%v adding %v removing %v isr %v leader %d epochs %d %d", p.Replicas, p.Adding, p.Removing, p.ISR, p.Leader, p.LeaderEpoch, p.PartitionEpoch)
}

// Three brokers: a partition moves from two of them to the third, is called back, moves again and arrives.
func TestReassignment(t *testing.T) {
	s := open(t)
	epochs := map[metadata.BrokerID]metadata.BrokerEpoch{}
	for _, id := range (ids{1, 2, 3}) {
		epochs[id] = newBroker(id).join(t, s).epoch
	}
	tp := metadata.TopicPartition{TopicID: topic(t, s, "flights", ids{1, 2})}
	dir := snapshot(t, s).Brokers[2].Dirs[0]
	if err := s.AssignDir(t.Context(), tp, 2, dir); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if got := moves(snapshot(t, s).Partition(tp)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	inSync := func(isr ...metadata.BrokerID) *metadata.Partition { // its leader says so
		t.Helper()
		p := snapshot(t, s).Partition(tp)
		out, err := s.AlterISR(t.Context(), p.Leader, epochs[p.Leader], []metadata.ISRChange{isrChange(p, isr...)})
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out)
		}
		return out[0].Partition
	}
	reassign(t, s, tp, nil, 3, 2)
	expect("[3 2 1] adding [3] removing [1] isr [1 2] leader 1 epochs 0 2")
	if dirs := snapshot(t, s).Partition(tp).Dirs; !slices.Equal(dirs, []metadata.DirID{uuid.Nil, dir, uuid.Nil}) {
		t.Errorf("directories %v", dirs)
	}
	version := snapshot(t, s).Version
	reassign(t, s, tp, nil, 3, 2)
	if v := snapshot(t, s).Version; v != version {
		t.Error("the same again is a change")
	}
	reassign(t, s, tp, nil)
	expect("[2 1] adding [] removing [] isr [1 2] leader 1 epochs 1 3")
	reassign(t, s, tp, kerr.NoReassignmentInProgress)
	reassign(t, s, tp, nil, 3)
	expect("[3 2 1] adding [3] removing [2 1] isr [1 2] leader 1 epochs 1 4")
	inSync(1, 3)
	expect("[3] adding [] removing [] isr [3] leader 3 epochs 2 5")
	reassign(t, s, tp, nil, 1)
	inSync(3) // nothing new
	expect("[1 3] adding [1] removing [3] isr [3] leader 3 epochs 2 6")
	if got := moves(inSync(3, 1)); got != "[1] adding [] removing [] isr [1] leader 1 epochs 3 7" {
		t.Errorf("the old leader hears of %s", got)
	}
	reassign(t, s, tp, nil, 1, 2)
	inSync(1, 2)
	expect("[1 2] adding [] removing [] isr [1 2] leader 1 epochs 3 9")
}

// The replicas that a reassignment takes away hold all that is in sync: there is no way back that loses nothing.
func TestReassignmentCannotBeCancelled(t *testing.T) {
	s := open(t)
	b1, b2 := newBroker(1).join(t, s), newBroker(2).join(t, s)
	tp := metadata.TopicPartition{TopicID: topic(t, s, "flights", ids{1}, ids{1})}
	newBroker(3).join(t, s)
	reassign(t, s, tp, nil, 2, 3)
	out, err := s.AlterISR(t.Context(), 1, b1.epoch, []metadata.ISRChange{isrChange(snapshot(t, s).Partition(tp), 1, 2)})
	if err != nil || out[0].Err != nil {
		t.Fatal(err, out)
	}
	if err := s.Unregister(t.Context(), 1, b1.epoch); err != nil {
		t.Fatal(err)
	}
	if got := moves(snapshot(t, s).Partition(tp)); got != "[2 3 1] adding [2 3] removing [1] isr [2] leader 2 epochs 1 3" {
		t.Fatal(got)
	}
	reassign(t, s, tp, kerr.InvalidReplicaAssignment)
	out, err = s.AlterISR(t.Context(), 2, b2.epoch, []metadata.ISRChange{isrChange(snapshot(t, s).Partition(tp), 2, 3)})
	if err != nil || out[0].Err != nil || moves(out[0].Partition) != "[2 3] adding [] removing [] isr [2 3] leader 2 epochs 2 4" {
		t.Error(err, out)
	}
}

func TestAlterReassignmentsErrorsArePerPartition(t *testing.T) {
	s := open(t)
	for id := range metadata.BrokerID(3) {
		newBroker(id+1).join(t, s)
	}
	id := topic(t, s, "flights", ids{1, 2}, ids{2, 1}, ids{1, 3})
	change := func(partition int32, target ...metadata.BrokerID) metadata.ReassignmentChange {
		return metadata.ReassignmentChange{TopicPartition: metadata.TopicPartition{TopicID: id, Partition: partition}, Target: target}
	}
	nowhere := change(0, 1)
	nowhere.TopicID = uuid.New()
	errs, err := s.AlterReassignments(t.Context(), []metadata.ReassignmentChange{change(2, 1, 9), change(1, 1, 2, 3), change(0, 2, 1), nowhere, change(7, 1, 2),
		change(0, 3, 1), change(0)}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*kerr.Error{kerr.InvalidReplicaAssignment, kerr.InvalidReplicationFactor, nil, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, nil, nil} {
		wantKafka(t, errs[i], want)
	}
	im := snapshot(t, s)
	for i, want := range []string{
		"[1 2] adding [] removing [] isr [1 2] leader 1 epochs 1 3", // in another order, moved, and cancelled
		"[2 1] adding [] removing [] isr [2 1] leader 2 epochs 0 0",
		"[1 3] adding [] removing [] isr [1 3] leader 1 epochs 0 0",
	} {
		if got := moves(im.ByName["flights"].Partitions[i]); got != want {
			t.Errorf("partition %d: %s", i, got)
		}
	}
	if errs, err := s.AlterReassignments(t.Context(), nil, true); err != nil || len(errs) > 0 {
		t.Error(errs, err)
	}
}

// Partitions added while partition 0 moves have as many replicas as it will have, not as many as it has meanwhile.
func TestAddPartitionsDuringReassignment(t *testing.T) {
	s := open(t)
	for id := range metadata.BrokerID(3) {
		newBroker(id+1).join(t, s)
	}
	tp := metadata.TopicPartition{TopicID: topic(t, s, "flights", ids{1, 2})}
	reassign(t, s, tp, nil, 1, 3)
	wantKafka(t, s.AddPartitions(t.Context(), "flights", []ids{{1, 2, 3}}, 1, true), kerr.InvalidReplicaAssignment)
	wantKafka(t, s.AddPartitions(t.Context(), "flights", []ids{{1, 2}}, 1, true), nil)
}

// Several at a time, over the same partitions in different orders, do not wait for each other for ever, and each sees what the last did.
func TestReassignmentsRace(t *testing.T) {
	s := open(t)
	for id := range metadata.BrokerID(3) {
		newBroker(id+1).join(t, s)
	}
	id := topic(t, s, "flights", ids{1}, ids{1}, ids{1}, ids{1})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			var changes []metadata.ReassignmentChange
			for i := range int32(4) {
				p := (i + int32(n)) % 4
				changes = append(changes, metadata.ReassignmentChange{TopicPartition: metadata.TopicPartition{TopicID: id, Partition: p}, Target: ids{metadata.BrokerID(n%2) + 2}})
			}
			errs, err := s.AlterReassignments(t.Context(), changes, true)
			for _, e := range append(errs, err) {
				if e != nil {
					t.Error(e)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range snapshot(t, s).ByName["flights"].Partitions {
		if p.Leader != 1 || len(p.ISR) != 1 || len(p.Replicas)-len(p.Removing) != 1 || slices.Contains(p.Adding, 1) {
			t.Errorf("%s", moves(p))
		}
	}
}
