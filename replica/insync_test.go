package replica

import (
	"slices"
	"testing"
	"time"

	"varve/metadata"
)

const lag = 10 * time.Second

// three is a leader (1) of three replicas whose log ends at 100 when its epoch begins at t.
func three(t time.Time) *inSync {
	ids := []metadata.BrokerID{1, 2, 3}
	return newInSync(&metadata.Partition{Replicas: ids, ISR: ids, PartitionEpoch: 5}, 1, 100, t)
}

func anybody(metadata.BrokerID, metadata.BrokerEpoch) bool { return true }

// TestHighWatermarkWaitsForEveryInSyncReplica: also for one that has said nothing yet in this epoch.
func TestHighWatermarkWaitsForEveryInSyncReplica(t *testing.T) {
	now := time.Unix(0, 0)
	x := three(now)
	x.replicaFetched(2, 7, 120, 130, now)
	if hw := x.highWatermark(130, 1, now, lag, anybody); hw != -1 {
		t.Fatalf("high watermark %d without a word of replica 3", hw)
	}
	x.replicaFetched(3, 7, 110, 130, now)
	if hw := x.highWatermark(130, 1, now, lag, anybody); hw != 110 {
		t.Fatalf("high watermark %d, replica 3 has 110", hw)
	}
	if hw := x.highWatermark(105, 1, now, lag, anybody); hw != 105 {
		t.Fatalf("high watermark %d, the leader's disk has 105", hw)
	}
}

// TestLaggardLeavesAndReturns: who lacks something for longer than the lag leaves, holds the high watermark back until Postgres has agreed, and joins again
// only at the high watermark and beyond the start of the epoch.
func TestLaggardLeavesAndReturns(t *testing.T) {
	now := time.Unix(0, 0)
	x := three(now)
	x.replicaFetched(2, 7, 100, 100, now)
	x.replicaFetched(3, 7, 100, 100, now)
	if _, ok := x.propose(100, now.Add(time.Hour), lag, anybody); ok {
		t.Fatal("replicas that have everything leave an idle partition")
	}
	x.appended(now)
	x.replicaFetched(2, 7, 110, 110, now)
	if _, ok := x.propose(100, now.Add(lag), lag, anybody); ok {
		t.Fatal("replica 3 is out before its time")
	}
	now = now.Add(lag + 1)
	isr, ok := x.propose(100, now, lag, anybody)
	if !ok || !slices.Equal(isr, []metadata.BrokerID{1, 2}) {
		t.Fatal(isr, ok)
	}
	c := x.begin(metadata.TopicPartition{}, 4, isr)
	if c.PartitionEpoch != 5 || c.LeaderEpoch != 4 || len(c.ISR) != 2 || c.ISR[0].Epoch != -1 || c.ISR[1].Epoch != 7 {
		t.Fatalf("%+v", c)
	}
	if hw := x.highWatermark(110, 1, now, lag, anybody); hw != 100 {
		t.Fatalf("high watermark %d before Postgres has agreed", hw)
	}
	if _, ok := x.propose(100, now, lag, anybody); ok {
		t.Fatal("two changes at once")
	}
	x.take(&metadata.Partition{Replicas: []metadata.BrokerID{1, 2, 3}, ISR: isr, PartitionEpoch: 6}, now)
	if hw := x.highWatermark(110, 1, now, lag, anybody); hw != 110 {
		t.Fatalf("high watermark %d without replica 3", hw)
	}
	x.replicaFetched(3, 8, 105, 110, now)
	if _, ok := x.propose(110, now, lag, anybody); ok {
		t.Fatal("replica 3 joins below the high watermark")
	}
	x.replicaFetched(3, 8, 110, 110, now)
	if _, ok := x.propose(110, now, lag, func(id metadata.BrokerID, e metadata.BrokerEpoch) bool { return e != 8 }); ok {
		t.Fatal("a replica joins that is not eligible")
	}
	isr, ok = x.propose(110, now, lag, anybody)
	if !ok || !slices.Equal(isr, []metadata.BrokerID{1, 2, 3}) {
		t.Fatal(isr, ok)
	}
	x.begin(metadata.TopicPartition{}, 4, isr)
	x.appended(now)
	if hw := x.highWatermark(120, 1, now, lag, anybody); hw != 110 {
		t.Fatalf("high watermark %d: replica 3 may be in the ISR already", hw)
	}
	x.take(&metadata.Partition{Replicas: isr, ISR: []metadata.BrokerID{1, 2}, PartitionEpoch: 6}, now)
	if x.pending == nil {
		t.Fatal("a state that is known already says nothing of the change under way")
	}
	x.take(&metadata.Partition{Replicas: isr, ISR: []metadata.BrokerID{1}, PartitionEpoch: 5}, now)
	if len(x.committed) != 2 {
		t.Fatal("an older state was taken")
	}
	x.abandon()
	if isr, ok := x.propose(110, now, lag, anybody); !ok || len(isr) != 3 {
		t.Fatal("a refused change is not proposed again", isr, ok)
	}
}

// TestWhoMayNotJoinDoesNotHoldBack: a replica whose broker was fenced and that has left the ISR is waited for no longer, however short ago it had everything.
func TestWhoMayNotJoinDoesNotHoldBack(t *testing.T) {
	now := time.Unix(0, 0)
	all := []metadata.BrokerID{1, 2, 3}
	x := newInSync(&metadata.Partition{Replicas: all, ISR: all, PartitionEpoch: 1}, 1, 100, now)
	for _, id := range all[1:] {
		x.replicaFetched(id, 7, 100, 100, now)
	}
	x.take(&metadata.Partition{Replicas: all, ISR: []metadata.BrokerID{1, 3}, PartitionEpoch: 2}, now)
	x.appended(now)
	x.replicaFetched(3, 7, 110, 110, now)
	if hw := x.highWatermark(110, 2, now, lag, anybody); hw != 100 {
		t.Fatal("broker 2 may join again and is not waited for", hw)
	}
	if hw := x.highWatermark(110, 2, now, lag, func(id metadata.BrokerID, _ metadata.BrokerEpoch) bool { return id != 2 }); hw != 110 {
		t.Fatal("broker 2 is gone and holds the high watermark back", hw)
	}
}

// TestNoMemberBelowTheStartOfTheEpoch: with a high watermark that is not known yet, reaching it proves nothing.
func TestNoMemberBelowTheStartOfTheEpoch(t *testing.T) {
	now := time.Unix(0, 0)
	x := newInSync(&metadata.Partition{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1}}, 1, 100, now)
	x.replicaFetched(2, 7, 90, 100, now)
	if isr, ok := x.propose(50, now, lag, anybody); ok {
		t.Fatal(isr)
	}
}

// TestWhoWouldLeaveDoesNotJoin: below min.insync.replicas the high watermark stands still, and a replica that fetches no more has reached it all the same.
func TestWhoWouldLeaveDoesNotJoin(t *testing.T) {
	now := time.Unix(0, 0)
	x := newInSync(&metadata.Partition{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1}}, 1, 100, now)
	x.replicaFetched(2, 7, 100, 100, now)
	x.appended(now)
	if isr, ok := x.propose(100, now.Add(lag), lag, anybody); !ok || len(isr) != 2 {
		t.Fatal("it has all that was there a moment ago", isr, ok)
	}
	if isr, ok := x.propose(100, now.Add(lag+1), lag, anybody); ok {
		t.Fatal("it would leave at once", isr)
	}
}

// TestStrictMinISR: below min.insync.replicas the high watermark stands (KIP-966).
func TestStrictMinISR(t *testing.T) {
	now := time.Unix(0, 0)
	x := newInSync(&metadata.Partition{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1}}, 1, 100, now)
	if hw := x.highWatermark(110, 2, now.Add(time.Hour), lag, anybody); hw != -1 {
		t.Fatal(hw)
	}
	if hw := x.highWatermark(110, 1, now.Add(time.Hour), lag, anybody); hw != 110 {
		t.Fatal(hw)
	}
	alone := newInSync(&metadata.Partition{Replicas: []metadata.BrokerID{1}, ISR: []metadata.BrokerID{1}}, 1, 100, now)
	if hw := alone.highWatermark(110, 2, now, lag, anybody); hw != 110 {
		t.Fatal("a topic with one replica cannot have two in sync", hw)
	}
}

// TestQuotaPaysInTime: what passed is paid for before more may, whatever its size.
func TestQuotaPaysInTime(t *testing.T) {
	var q quota
	now := time.Unix(1000, 0)
	if wait := q.pass(2500, 1000, now); wait != 2500*time.Millisecond {
		t.Fatal(wait)
	}
	if wait := q.owed(now.Add(time.Second)); wait != 1500*time.Millisecond {
		t.Fatal(wait)
	}
	if wait := q.pass(1000, 1000, now.Add(10*time.Second)); wait != time.Second {
		t.Fatal(wait)
	}
	if wait := q.pass(1<<40, 1<<63-1, now.Add(20*time.Second)); wait != 0 {
		t.Fatal("no limit is none", wait)
	}
}

// A replica that a reassignment adds is looked for in every new state, though the partition does not count as short of it.
func TestOutside(t *testing.T) {
	s := &metadata.Partition{Replicas: []metadata.BrokerID{1, 2, 3}, ISR: []metadata.BrokerID{1, 2}, Adding: []metadata.BrokerID{3}, PartitionEpoch: 1}
	x := newInSync(s, 1, 0, time.Now())
	if !x.outside() || x.replicas != 2 {
		t.Errorf("outside %v, %d replicas", x.outside(), x.replicas)
	}
	s.ISR, s.PartitionEpoch = []metadata.BrokerID{1, 2, 3}, 2
	if x.take(s, time.Now()); x.outside() {
		t.Error("all are in sync")
	}
}
