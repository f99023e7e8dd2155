package metadata

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// AlterISR decides what broker self, as the leader of p, wants its in-sync set to become (Kafka:
// ReplicationControlManager.alterPartition); p nil is a partition that does not exist. brokers must hold self, whose
// broker epoch has been checked. minISR is min.insync.replicas of the topic. p is not modified; the result is p itself
// when the set is the one that is there.
//
// Errors, in the order in which they are looked for: UNKNOWN_TOPIC_OR_PARTITION; NOT_CONTROLLER when the leader knows
// newer epochs than p has; FENCED_LEADER_EPOCH; INVALID_REQUEST when self does not lead; INVALID_UPDATE_VERSION;
// INVALID_REQUEST for a set that cannot be; INELIGIBLE_REPLICA for a member that may not be in sync now.
func AlterISR(p *Partition, change ISRChange, self BrokerID, brokers map[BrokerID]*Broker, minISR int) (*Partition, error) {
	if p == nil {
		return nil, fmt.Errorf("%w: %s", kerr.UnknownTopicOrPartition, change.TopicPartition)
	}
	if err := checkISRFence(p, change, self); err != nil {
		return nil, err
	}
	isr, err := checkISR(p, change, self)
	if err != nil {
		return nil, err
	}
	if sameMembers(isr, p.ISR) {
		return p, nil
	}
	for _, m := range change.ISR {
		if why := ineligible(m, brokers[m.ID]); why != "" {
			return nil, fmt.Errorf("%w: broker %d for %s: %s", kerr.IneligibleReplica, m.ID, p.TopicPartition, why)
		}
	}
	next := *p
	setISR(&next, isr, minISR)
	next.PartitionEpoch++
	return &next, nil
}

// checkISRFence tells whether the sender is the leader and knows the current state.
func checkISRFence(p *Partition, change ISRChange, self BrokerID) error {
	switch {
	case change.LeaderEpoch > p.LeaderEpoch || change.PartitionEpoch > p.PartitionEpoch:
		return fmt.Errorf("%w: %s is at epochs %d and %d, not yet at %d and %d", kerr.NotController,
			p.TopicPartition, p.LeaderEpoch, p.PartitionEpoch, change.LeaderEpoch, change.PartitionEpoch)
	case change.LeaderEpoch < p.LeaderEpoch:
		return fmt.Errorf("%w: %s is at leader epoch %d, not %d", kerr.FencedLeaderEpoch, p.TopicPartition, p.LeaderEpoch, change.LeaderEpoch)
	case p.Leader != self:
		return fmt.Errorf("%w: %s is led by broker %d, not %d", kerr.InvalidRequest, p.TopicPartition, p.Leader, self)
	case change.PartitionEpoch < p.PartitionEpoch:
		return fmt.Errorf("%w: %s is at partition epoch %d, not %d", kerr.InvalidUpdateVersion, p.TopicPartition, p.PartitionEpoch, change.PartitionEpoch)
	}
	return nil
}

// checkISR returns the members that change names, if they can be an in-sync set of p.
func checkISR(p *Partition, change ISRChange, self BrokerID) ([]BrokerID, error) {
	var isr []BrokerID
	for _, m := range change.ISR {
		if !slices.Contains(p.Replicas, m.ID) || slices.Contains(isr, m.ID) {
			return nil, fmt.Errorf("%w: in-sync set of %s: broker %d has no replica or is named twice", kerr.InvalidRequest, p.TopicPartition, m.ID)
		}
		isr = append(isr, m.ID)
	}
	switch {
	case !slices.Contains(isr, self):
		return nil, fmt.Errorf("%w: in-sync set %v of %s lacks the leader", kerr.InvalidRequest, isr, p.TopicPartition)
	case p.Recovery == Recovering && len(isr) > 1:
		return nil, fmt.Errorf("%w: %s is being rebuilt, its leader alone is in sync", kerr.InvalidRequest, p.TopicPartition)
	}
	return isr, nil
}

// ineligible says why member m may not be in sync, "" when it may; b is its broker, nil when unregistered.
func ineligible(m ISRMember, b *Broker) string {
	switch {
	case b == nil:
		return "not registered"
	case b.Fenced:
		return "fenced"
	case b.InShutdown:
		return "shutting down"
	case m.Epoch != -1 && m.Epoch != b.Epoch:
		return fmt.Sprintf("registered with epoch %d, not %d", b.Epoch, m.Epoch)
	}
	return ""
}

// setISR makes isr the in-sync set of p and keeps the eligible leader replicas right (kafka-rules 3.7). An in-sync set
// that is large enough knows all that is committed, and makes the others worthless. Below that nothing more is
// committed, so those that leave it still have everything.
func setISR(p *Partition, isr []BrokerID, minISR int) {
	if len(isr) >= enough(p, minISR) {
		p.ISR, p.ELR, p.LastKnownELR = isr, nil, nil
		return
	}
	var elr []BrokerID
	for _, id := range p.Replicas {
		had := slices.Contains(p.ISR, id) || slices.Contains(p.ELR, id)
		if had && !slices.Contains(isr, id) {
			elr = append(elr, id)
		}
	}
	p.ISR, p.ELR = isr, elr
}

// enough is the size of the in-sync set below which nothing is committed.
func enough(p *Partition, minISR int) int { return min(minISR, len(p.Replicas)) }

// WithoutELR returns p with nobody eligible beside the ISR: what min.insync.replicas was when they became so no longer
// holds. The result is p itself when there is none.
func WithoutELR(p *Partition) *Partition {
	if len(p.ELR) == 0 && len(p.LastKnownELR) == 0 {
		return p
	}
	next := *p
	next.ELR, next.LastKnownELR = nil, nil
	next.PartitionEpoch++
	return &next
}

// WithDir returns p with broker id's replica in directory dir. When the one where it was is gone, so is its log: it is
// no longer eligible. id must have a replica of p.
func WithDir(p *Partition, id BrokerID, dir DirID, lost bool) *Partition {
	next := *p
	i := slices.Index(p.Replicas, id)
	next.Dirs = slices.Clone(p.Dirs)
	next.Dirs[i] = dir
	if lost {
		next.ELR = without(p.ELR, id)
	}
	next.PartitionEpoch++
	return &next
}

// sameMembers compares sets without duplicates.
func sameMembers(a, b []BrokerID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id BrokerID) bool { return !slices.Contains(b, id) })
}
