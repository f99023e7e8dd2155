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

// Elect returns what p becomes (kafka-rules: PartitionChangeBuilder). A valid leader is an electable member of the ISR,
// or, when the ISR has none, an electable one of the ELR, which then is the ISR. With unclean, and no valid one, a
// replica whose broker is alive leads with itself as the ISR and rebuilds from the bucket: what was acknowledged but not
// uploaded may be lost. The last known leader comes first then, after it those that have their log. Without any, the
// partition has no leader and keeps its ISR; but a leader that is shutting down leads until it is fenced. minISR is min.insync.replicas of the topic. p is not modified; the result
// is p itself when nothing changes.
func Elect(p *Partition, brokers map[BrokerID]*Broker, prefer Preference, unclean bool, minISR int) *Partition {
	if i := validLeader(p, brokers, prefer); i >= 0 {
		return withLeader(p, p.Replicas[i], minISR)
	}
	if leadsToTheEnd(p, brokers) {
		return p
	}
	if i := uncleanChoice(p, brokers); i >= 0 && unclean {
		return uncleanLeader(p, i, brokers[p.Replicas[i]])
	}
	return withLeader(p, NoBroker, minISR)
}

// validLeader returns the index in Replicas of the leader that a clean election chooses, -1 for none.
func validLeader(p *Partition, brokers map[BrokerID]*Broker, prefer Preference) int {
	valid := func(set []BrokerID) func(i int) bool {
		return func(i int) bool {
			return i >= 0 && slices.Contains(set, p.Replicas[i]) && Electable(p, i, brokers)
		}
	}
	if i := choose(p, prefer, valid(p.ISR)); i >= 0 {
		return i
	}
	return choose(p, prefer, valid(p.ELR))
}

func choose(p *Partition, prefer Preference, valid func(i int) bool) int {
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

// leadsToTheEnd reports whether the leader of p is shutting down, and can still do what it did.
func leadsToTheEnd(p *Partition, brokers map[BrokerID]*Broker) bool {
	b := brokers[p.Leader]
	return b != nil && b.InShutdown && !b.Fenced && hasLog(p, p.Leader, brokers)
}

// uncleanChoice returns the index in Replicas of the one that loses least, as far as is known; -1 when none is alive.
func uncleanChoice(p *Partition, brokers map[BrokerID]*Broker) int {
	choice := -1
	for i, id := range p.Replicas {
		b := brokers[id]
		if b == nil || b.Fenced || b.InShutdown {
			continue
		}
		hasLog := dirOnline(p.Dirs[i], b)
		if hasLog && slices.Contains(p.LastKnownELR, id) {
			return i
		}
		if choice < 0 || hasLog && !dirOnline(p.Dirs[choice], brokers[p.Replicas[choice]]) {
			choice = i
		}
	}
	return choice
}

func withLeader(p *Partition, leader BrokerID, minISR int) *Partition {
	if p.Leader == leader {
		return p
	}
	next := *p
	next.Leader = leader
	next.LeaderEpoch++
	next.PartitionEpoch++
	switch {
	case leader != NoBroker && !slices.Contains(p.ISR, leader):
		setISR(&next, []BrokerID{leader}, minISR)
	case leader == NoBroker && len(p.ISR) < enough(p, minISR):
		next.LastKnownELR = []BrokerID{p.Leader}
	}
	return &next
}

func uncleanLeader(p *Partition, i int, b *Broker) *Partition {
	next := *p
	next.Leader = p.Replicas[i]
	next.LeaderEpoch++
	next.PartitionEpoch++
	next.ISR, next.ELR, next.LastKnownELR = []BrokerID{next.Leader}, nil, nil
	next.Recovery = Recovering
	if !dirOnline(p.Dirs[i], b) {
		next.Dirs = slices.Clone(p.Dirs)
		next.Dirs[i] = uuid.Nil
	}
	return &next
}

// WithoutBroker returns what p becomes when broker id is fenced, shuts down, or comes back as a new process or with a
// new disk; brokers say so already. It leaves the ISR when another that can lead remains, and leads no more. The last
// one stays in the ISR, since only it has everything: the partition waits for it without a leader. A broker that
// leaves stays eligible while the ISR is too small to commit anything (see setISR), unless it ended uncleanly or lost
// the disk. p is not modified; the result is p itself when nothing changes.
func WithoutBroker(p *Partition, id BrokerID, brokers map[BrokerID]*Broker, minISR int, unclean bool) *Partition {
	next := *p
	if slices.Contains(p.ISR, id) && othersCanLead(p, id, brokers) {
		setISR(&next, without(p.ISR, id), minISR)
	}
	next = *Elect(&next, brokers, KeepLeader, false, minISR)
	if unclean || !hasLog(p, id, brokers) {
		next.ELR = without(next.ELR, id)
	}
	if next.Leader == p.Leader && slices.Equal(next.ISR, p.ISR) && slices.Equal(next.ELR, p.ELR) {
		return p
	}
	next.PartitionEpoch = p.PartitionEpoch + 1 // one change, one epoch
	return &next
}

func othersCanLead(p *Partition, id BrokerID, brokers map[BrokerID]*Broker) bool {
	for i, r := range p.Replicas {
		if r != id && slices.Contains(p.ISR, r) && Electable(p, i, brokers) {
			return true
		}
	}
	return false
}

// hasLog reports whether broker id shows the directory of its replica of p.
func hasLog(p *Partition, id BrokerID, brokers map[BrokerID]*Broker) bool {
	i := slices.Index(p.Replicas, id)
	return i >= 0 && brokers[id] != nil && dirOnline(p.Dirs[i], brokers[id])
}

func without(ids []BrokerID, id BrokerID) []BrokerID {
	return slices.DeleteFunc(slices.Clone(ids), func(b BrokerID) bool { return b == id })
}
