package group

import (
	"time"

	"varve/metadata"
)

// snapshot is what Postgres keeps of the group, with these assignments.
func (m *machine) snapshot(assignments map[string][]byte, now time.Time) metadata.GroupState {
	g := metadata.GroupState{GroupID: m.id, Shard: m.shard, Generation: m.generation, ProtocolType: m.protocolType,
		Protocol: m.protocol, Leader: m.leader, StateSince: now}
	for _, x := range m.members {
		g.Members = append(g.Members, metadata.GroupMember{MemberID: x.id, InstanceID: x.instanceID, ClientID: x.clientID,
			ClientHost: x.clientHost, SessionTimeout: x.session, RebalanceTimeout: x.rebalance,
			Metadata: x.metadata(m.protocol), Assignment: assignments[x.id]})
	}
	return g
}

// assignments of the current generation.
func (m *machine) assignments() map[string][]byte {
	all := map[string][]byte{}
	for _, x := range m.members {
		all[x.id] = x.assignment
	}
	return all
}

// restore makes a machine of what a former coordinator persisted. Every member gets a full session: its heartbeats may
// have gone to the former coordinator until now.
func restore(g metadata.GroupState, r *rules, now time.Time) *machine {
	m := newMachine(g.GroupID, g.Shard, r, now)
	m.generation, m.protocolType, m.protocol, m.leader, m.since, m.stored = g.Generation, g.ProtocolType, g.Protocol, g.Leader, g.StateSince, true
	for _, s := range g.Members {
		x := &member{id: s.MemberID, instanceID: s.InstanceID, clientID: s.ClientID, clientHost: s.ClientHost,
			session: s.SessionTimeout, rebalance: s.RebalanceTimeout, assignment: s.Assignment,
			protocols: []protocol{{g.Protocol, s.Metadata}}}
		x.touch(now)
		m.members = append(m.members, x)
		if x.instanceID != nil {
			m.static[*x.instanceID] = x.id
		}
	}
	if len(m.members) > 0 {
		m.state = stable
	}
	return m
}
