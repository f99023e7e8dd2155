package group

import (
	"maps"
	"slices"
	"time"

	"varve/metadata"
)

// snapshot is what Postgres keeps of the group.
func (m *consumer) snapshot() metadata.GroupState {
	c := &metadata.ConsumerGroup{AssignmentEpoch: m.assignmentEpoch, Topics: maps.Clone(m.topics)}
	for _, x := range m.sorted() {
		s := x.ConsumerMember
		s.State, s.Topics = int8(x.state), slices.Clone(x.Topics)
		s.Assigned, s.Revoking = maps.Clone(x.Assigned), maps.Clone(x.Revoking)
		for tp := range x.target {
			s.Target = append(s.Target, tp)
		}
		c.Members = append(c.Members, s)
	}
	return metadata.GroupState{GroupID: m.id, Shard: m.shard, Generation: m.epoch, ProtocolType: "consumer", StateSince: m.since, Consumer: c}
}

// restoreConsumer makes a machine of what a former coordinator persisted. Every member gets a full session, and the full
// time to revoke.
func restoreConsumer(g metadata.GroupState, r *consumerRules, image *metadata.Image, now time.Time) *consumer {
	m := newConsumer(g.GroupID, g.Shard, r, image, now)
	m.epoch, m.since, m.stored, m.stale = g.Generation, g.StateSince, true, true
	m.assignmentEpoch, m.topics = g.Consumer.AssignmentEpoch, g.Consumer.Topics
	for _, s := range g.Consumer.Members {
		x := &consumerMember{ConsumerMember: s, state: memberState(s.State), target: map[metadata.TopicPartition]bool{}, expires: now.Add(r.session)}
		x.Target = nil
		for _, tp := range s.Target {
			x.target[tp] = true
		}
		if x.state == unrevoked {
			x.fencedAt = now.Add(x.RebalanceTimeout)
		}
		m.members[x.MemberID] = x
		if x.InstanceID != nil {
			m.static[*x.InstanceID] = x.MemberID
		}
		m.own(x, x.Assigned, x.Revoking)
	}
	return m
}
