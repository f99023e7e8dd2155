package metadata

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ReassignmentChange is what a client wants of the replicas of one partition.
type ReassignmentChange struct {
	TopicPartition
	// Target lists the replicas that the partition shall have, preferred leader first; nil cancels a reassignment.
	Target []BrokerID
}

// Reassigning reports whether replicas of p are being moved.
func (p *Partition) Reassigning() bool { return len(p.Adding) > 0 || len(p.Removing) > 0 }

// ReplicationFactor is how many replicas p has, or will have when its reassignment is complete.
func (p *Partition) ReplicationFactor() int { return len(minus(p.Replicas, p.Removing)) }

// StartReassignment returns what p becomes when its replicas shall be target (Kafka: PartitionReassignmentReplicas): target, followed by
// those that are to go. They go when all of target are in sync, which may be at once: when target only changes the order, or only leaves
// replicas out. The caller has checked that the brokers are registered. The result is p itself when nothing changes; when the leader went,
// the caller elects another one (see FinishReassignment).
//
// It may replace a reassignment that is under way. A replica which that one added and which target leaves out is in Adding and in Removing:
// cancelling goes back to the replicas before the first of the two. Kafka does so too, but then waits for that replica to get in sync.
//
// INVALID_REPLICA_ASSIGNMENT when target is empty or names a broker twice.
func StartReassignment(p *Partition, target []BrokerID) (*Partition, error) {
	if len(target) == 0 {
		//lint:ignore ST1005 these are Kafka's words
		return nil, fmt.Errorf("%w: The manual partition assignment includes an empty replica list.", kerr.InvalidReplicaAssignment)
	}
	for i, id := range target {
		if slices.Contains(target[:i], id) {
			//lint:ignore ST1005 these are Kafka's words
			return nil, fmt.Errorf("%w: The manual partition assignment includes the broker %d more than once.", kerr.InvalidReplicaAssignment, id)
		}
	}
	original := minus(p.Replicas, p.Adding)
	removing := minus(p.Replicas, target)
	replicas := slices.Concat(target, removing)
	adding := minus(replicas, original)
	if slices.Equal(replicas, p.Replicas) && sameMembers(adding, p.Adding) && sameMembers(removing, p.Removing) {
		return CompleteReassignment(p), nil
	}
	next := *p
	next.Replicas, next.Dirs = replicas, dirsOf(p, replicas)
	next.Adding, next.Removing = adding, removing
	next.PartitionEpoch++
	done := CompleteReassignment(&next)
	done.PartitionEpoch = next.PartitionEpoch // one change, one epoch
	return done, nil
}

// CancelReassignment returns what p becomes when its reassignment is given up (Kafka: PartitionReassignmentRevert): the replicas that it
// added leave, those that it removes stay. When the leader went, the caller elects another one.
//
// NO_REASSIGNMENT_IN_PROGRESS; INVALID_REPLICA_ASSIGNMENT when all that are in sync are added ones: whoever led then could lack records.
func CancelReassignment(p *Partition) (*Partition, error) {
	if !p.Reassigning() {
		return nil, kerr.NoReassignmentInProgress
	}
	next := keepReplicas(p, minus(p.Replicas, p.Adding))
	if len(next.ISR) == 0 {
		//lint:ignore ST1005 these are Kafka's words
		return nil, fmt.Errorf("%w: Unable to revert the assignment of partition %d because it would require an unclean leader election.",
			kerr.InvalidReplicaAssignment, p.TopicPartition.Partition)
	}
	return next, nil
}

// CompleteReassignment returns what p becomes when its reassignment is complete, p itself while it is not, or when there is none. It is
// complete when every replica that stays is in the ISR. Then those to be removed leave, whereby the leader epoch grows: they fetch no more
// as followers. The leader may be one of them: FinishReassignment elects another one, too.
func CompleteReassignment(p *Partition) *Partition {
	if !p.Reassigning() {
		return p
	}
	stay := minus(p.Replicas, p.Removing)
	isr := minus(p.ISR, p.Removing)
	if len(isr) == 0 || len(minus(stay, isr)) > 0 {
		return p
	}
	return keepReplicas(p, stay)
}

// FinishReassignment is for every change of the ISR, of which next is what p becomes. The result is next itself while the reassignment is
// not complete. When it is, next completes it, and elects a leader when the old one went: all in one change of p, so that both epochs grow
// by one at most. minISR is min.insync.replicas of the topic.
func FinishReassignment(p, next *Partition, brokers map[BrokerID]*Broker, minISR int) *Partition {
	done := CompleteReassignment(next)
	if done == next {
		return next
	}
	return settle(p, done, brokers, minISR)
}

// settle elects another leader when the one of next, which is what p becomes, went, and makes one change of both.
func settle(p, next *Partition, brokers map[BrokerID]*Broker, minISR int) *Partition {
	settled := *Elect(next, brokers, KeepLeader, false, minISR)
	settled.LeaderEpoch = min(settled.LeaderEpoch, p.LeaderEpoch+1)
	settled.PartitionEpoch = p.PartitionEpoch + 1
	return &settled
}

// Reassign applies one change of a client, and elects a leader when the old one went. The result is p itself when nothing changes. Errors as
// StartReassignment and CancelReassignment; INVALID_REPLICA_ASSIGNMENT for a broker that is not registered; INVALID_REPLICATION_FACTOR when
// the change would be one of the replication factor and allowFactorChange is false. minISR is min.insync.replicas of the topic.
func Reassign(p *Partition, c ReassignmentChange, brokers map[BrokerID]*Broker, allowFactorChange bool, minISR int) (*Partition, error) {
	var next *Partition
	var err error
	if c.Target == nil {
		next, err = CancelReassignment(p)
	} else if err = reassignable(p, c.Target, brokers, allowFactorChange); err == nil {
		next, err = StartReassignment(p, c.Target)
	}
	if err != nil || next == p {
		return next, err
	}
	return settle(p, next, brokers, minISR), nil
}

func reassignable(p *Partition, target []BrokerID, brokers map[BrokerID]*Broker, allowFactorChange bool) error {
	for _, id := range target {
		if brokers[id] == nil {
			//lint:ignore ST1005 these are Kafka's words
			return fmt.Errorf("%w: The manual partition assignment includes broker %d, but no such broker is registered.", kerr.InvalidReplicaAssignment, id)
		}
	}
	if n := p.ReplicationFactor(); !allowFactorChange && len(target) > 0 && len(target) != n {
		return fmt.Errorf("%w: The replication factor is changed from %d to %d", kerr.InvalidReplicationFactor, n, len(target))
	}
	return nil
}

// keepReplicas returns p with only the given ones of its replicas, and no reassignment. Both epochs grow when a replica leaves, else that of
// the partition.
func keepReplicas(p *Partition, replicas []BrokerID) *Partition {
	gone := minus(p.Replicas, replicas)
	next := *p
	next.Replicas, next.Dirs = replicas, dirsOf(p, replicas)
	next.ISR, next.ELR, next.LastKnownELR = minus(p.ISR, gone), minus(p.ELR, gone), minus(p.LastKnownELR, gone)
	next.Adding, next.Removing = nil, nil
	next.PartitionEpoch++
	if len(gone) > 0 {
		next.LeaderEpoch++
	}
	return &next
}

// dirsOf returns the directories of replicas: p's, none yet for those that p does not have.
func dirsOf(p *Partition, replicas []BrokerID) []DirID {
	dirs := make([]DirID, len(replicas))
	for i, id := range replicas {
		if at := slices.Index(p.Replicas, id); at >= 0 {
			dirs[i] = p.Dirs[at]
		} else {
			dirs[i] = uuid.Nil
		}
	}
	return dirs
}

// minus returns the ids that are not in drop, in order.
func minus(ids, drop []BrokerID) []BrokerID {
	return slices.DeleteFunc(slices.Clone(ids), func(id BrokerID) bool { return slices.Contains(drop, id) })
}
