package metadata

import (
	"slices"

	"github.com/google/uuid"
)

// Electable reports whether replica i of p may lead as far as its broker is concerned: registered, unfenced, not
// shutting down, and its log directory online. A replica that has no directory yet counts as online.
func Electable(p *Partition, i int, brokers map[BrokerID]*Broker) bool {
	b := brokers[p.Replicas[i]]
	return b != nil && !b.Fenced && !b.InShutdown && dirOnline(p.Dirs[i], b)
}

func dirOnline(dir DirID, b *Broker) bool {
	return dir == uuid.Nil || slices.Contains(b.Dirs, dir)
}

// Preference is what an election prefers.
type Preference int8

const (
	// KeepLeader keeps a valid leader, else takes the first valid replica (Kafka's ONLINE).
	KeepLeader Preference = iota
	// PreferFirst takes the first replica of the assignment when it is valid, else as KeepLeader (PREFERRED).
	PreferFirst
)

// Elect returns what p becomes (kafka-rules: PartitionChangeBuilder): a valid leader is an electable member of the
// ISR. With unclean, and no valid one, the first replica whose broker is alive leads with itself as the ISR and
// rebuilds from the bucket: what was acknowledged but not uploaded may be lost. Without any, the partition has no
// leader and keeps its ISR. p is not modified; the result is p itself when nothing changes.
func Elect(p *Partition, brokers map[BrokerID]*Broker, prefer Preference, unclean bool) *Partition {
	if i := validLeader(p, brokers, prefer); i >= 0 {
		return withLeader(p, p.Replicas[i])
	}
	if unclean {
		for i, id := range p.Replicas {
			if b := brokers[id]; b != nil && !b.Fenced && !b.InShutdown {
				return uncleanLeader(p, i, b)
			}
		}
	}
	return withLeader(p, NoBroker)
}

// validLeader returns the index in Replicas of the leader that a clean election chooses, -1 for none.
func validLeader(p *Partition, brokers map[BrokerID]*Broker, prefer Preference) int {
	valid := func(i int) bool {
		return i >= 0 && slices.Contains(p.ISR, p.Replicas[i]) && Electable(p, i, brokers)
	}
	if prefer == PreferFirst && valid(0) {
		return 0
	}
	if current := slices.Index(p.Replicas, p.Leader); valid(current) {
		return current
	}
	for i := range p.Replicas {
		if valid(i) {
			return i
		}
	}
	return -1
}

func withLeader(p *Partition, leader BrokerID) *Partition {
	if p.Leader == leader {
		return p
	}
	next := *p
	next.Leader = leader
	next.LeaderEpoch++
	next.PartitionEpoch++
	return &next
}

func uncleanLeader(p *Partition, i int, b *Broker) *Partition {
	next := *p
	next.Leader = p.Replicas[i]
	next.LeaderEpoch++
	next.PartitionEpoch++
	next.ISR = []BrokerID{next.Leader}
	next.Recovery = Recovering
	if !dirOnline(p.Dirs[i], b) {
		next.Dirs = slices.Clone(p.Dirs)
		next.Dirs[i] = uuid.Nil
	}
	return &next
}

// WithoutBroker returns what p becomes when broker id is fenced, shuts down, or comes back as a new process or with a
// new disk; brokers say so already. It leaves the ISR when another member that can lead remains, and leads no more.
// The last member stays in the ISR, since only it has everything: the partition waits for it without a leader.
func WithoutBroker(p *Partition, id BrokerID, brokers map[BrokerID]*Broker) *Partition {
	next := *p
	if slices.Contains(p.ISR, id) && othersCanLead(p, id, brokers) {
		next.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(b BrokerID) bool { return b == id })
		next.PartitionEpoch++
	}
	elected := Elect(&next, brokers, KeepLeader, false)
	if elected == &next && next.PartitionEpoch == p.PartitionEpoch {
		return p
	}
	if elected != &next {
		elected.PartitionEpoch = p.PartitionEpoch + 1 // one change, one epoch
	}
	return elected
}

func othersCanLead(p *Partition, id BrokerID, brokers map[BrokerID]*Broker) bool {
	for i, r := range p.Replicas {
		if r != id && slices.Contains(p.ISR, r) && Electable(p, i, brokers) {
			return true
		}
	}
	return false
}
