package replica

import (
	"slices"
	"time"

	"varve/metadata"
)

// inSync is what a leader knows of the replicas of its partition in one leader epoch: how far each has durably come, which are in sync, and which change of
// that is under way. It is pure: no clock, no I/O, no lock; the partition guards it. Rules: Kafka's Partition and Replica, KIP-966 for strict min ISR.
type inSync struct {
	self       metadata.BrokerID
	epochStart int64 // log end when the leader epoch began: who joins the ISR must have come that far

	// As Postgres has it.
	partitionEpoch int32
	replicas       int
	committed      []metadata.BrokerID

	pending   []metadata.BrokerID // the ISR that Postgres was asked for and has not answered, nil: none
	followers map[metadata.BrokerID]*progress
}

// progress is how far one follower has come.
type progress struct {
	end         int64                // offsets below are durable there, -1: not heard of in this leader epoch
	epoch       metadata.BrokerEpoch // of the registration that fetched last, -1: none
	behindSince time.Time            // since when it lacks something, zero: it has everything
	fetched     time.Time            // when it fetched last
	leaderEnd   int64                // the leader's log end at that time
}

// newInSync begins a leader epoch in which the log ends at end. Nobody is known to have anything, and the members of the ISR have their time from now.
func newInSync(s *metadata.Partition, self metadata.BrokerID, end int64, now time.Time) *inSync {
	x := &inSync{self: self, epochStart: end, followers: map[metadata.BrokerID]*progress{}}
	x.take(s, now)
	return x
}

// take adopts what Postgres has, if it is not older than what is known.
func (x *inSync) take(s *metadata.Partition, now time.Time) {
	if x.committed != nil && s.PartitionEpoch < x.partitionEpoch {
		return
	}
	if s.PartitionEpoch > x.partitionEpoch {
		x.pending = nil // it happened, or can no longer happen: its fence is gone
	}
	x.partitionEpoch, x.replicas, x.committed = s.PartitionEpoch, len(s.Replicas)-len(s.Adding), slices.Clone(s.ISR)
	for id := range x.followers {
		if !slices.Contains(s.Replicas, id) {
			delete(x.followers, id)
		}
	}
	for _, id := range s.Replicas {
		if id != x.self && x.followers[id] == nil {
			x.followers[id] = &progress{end: -1, epoch: -1, behindSince: now, leaderEnd: -1}
		}
	}
}

// outside reports whether there is a replica that is not in the ISR, one that a reassignment adds included.
func (x *inSync) outside() bool { return len(x.committed) < len(x.followers)+1 }

// replicaFetched notes that a follower has everything below offset and asks for what follows. False: it is none.
func (x *inSync) replicaFetched(id metadata.BrokerID, epoch metadata.BrokerEpoch, offset, leaderEnd int64, now time.Time) bool {
	f := x.followers[id]
	if f == nil {
		return false
	}
	switch {
	case offset >= leaderEnd:
		f.behindSince = time.Time{}
	case f.leaderEnd >= 0 && offset >= f.leaderEnd: // it had all there was when it asked last
		f.behindSince = later(f.behindSince, f.fetched)
	case f.behindSince.IsZero():
		f.behindSince = now
	}
	f.end, f.epoch, f.fetched, f.leaderEnd = offset, epoch, now, leaderEnd
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// appended notes that the leader's log has grown.
func (x *inSync) appended(now time.Time) {
	for _, f := range x.followers {
		if f.behindSince.IsZero() {
			f.behindSince = now
		}
	}
}

// maximal reports whether id counts for the high watermark as a member: of the committed ISR, or of the one asked for. What will be in the ISR is counted from
// the moment it is asked for, and what will be out until Postgres has said so: whichever of the two Postgres holds, its members have what is acknowledged.
func (x *inSync) maximal(id metadata.BrokerID) bool {
	return slices.Contains(x.committed, id) || slices.Contains(x.pending, id)
}

// highWatermark returns the offset below which every in-sync replica is durable, given that of this leader; -1 while it must not move: there are fewer in-sync
// replicas than need (strict min ISR). Replicas that are about to join hold it back too, or they would never catch up with it; one that may not join, as its
// broker is fenced or gone, does not.
func (x *inSync) highWatermark(ownDurable int64, need int, now time.Time, lag time.Duration, eligible func(metadata.BrokerID, metadata.BrokerEpoch) bool) int64 {
	if len(x.committed) < min(need, x.replicas) {
		return -1
	}
	hw := ownDurable
	for id, f := range x.followers {
		if x.maximal(id) || f.end >= 0 && f.caughtUp(now, lag) && eligible(id, f.epoch) {
			hw = min(hw, f.end)
		}
	}
	return hw
}

func (f *progress) caughtUp(now time.Time, lag time.Duration) bool {
	return f.behindSince.IsZero() || now.Sub(f.behindSince) <= lag
}

// propose returns the ISR that the partition should have and has not, or ok false: none, or a change is under way. Who has reached the high watermark and the
// start of this leader epoch joins if eligible, unless it would have to leave at once (a high watermark that stands still for want of replicas is reached by anybody); who has lacked something for longer than lag leaves.
func (x *inSync) propose(hw int64, now time.Time, lag time.Duration, eligible func(metadata.BrokerID, metadata.BrokerEpoch) bool) (isr []metadata.BrokerID, ok bool) {
	if x.pending != nil {
		return nil, false
	}
	for _, id := range x.committed {
		if f := x.followers[id]; id == x.self || f != nil && f.caughtUp(now, lag) {
			isr = append(isr, id)
		}
	}
	for id, f := range x.followers {
		if !slices.Contains(x.committed, id) && f.end >= max(hw, x.epochStart) && f.caughtUp(now, lag) && eligible(id, f.epoch) {
			isr = append(isr, id)
		}
	}
	slices.Sort(isr)
	was := slices.Sorted(slices.Values(x.committed))
	return isr, !slices.Equal(isr, was)
}

// begin notes that Postgres is asked for isr, and returns the request.
func (x *inSync) begin(tp metadata.TopicPartition, leaderEpoch int32, isr []metadata.BrokerID) metadata.ISRChange {
	x.pending = isr
	c := metadata.ISRChange{TopicPartition: tp, LeaderEpoch: leaderEpoch, PartitionEpoch: x.partitionEpoch}
	for _, id := range isr {
		m := metadata.ISRMember{ID: id, Epoch: -1}
		if f := x.followers[id]; f != nil {
			m.Epoch = f.epoch
		}
		c.ISR = append(c.ISR, m)
	}
	return c
}

// abandon notes that Postgres refused the change and has what was committed before.
func (x *inSync) abandon() { x.pending = nil }
