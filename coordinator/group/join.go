package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// refuseJoin answers a join with an error, as Kafka shapes it: no generation, no names.
func (m *machine) refuseJoin(to ticket, memberID string, err *kerr.Error) {
	m.reply(to, joined{err: err, generation: -1, memberID: memberID})
}

// checkSession refuses a session timeout out of bounds.
func (r *rules) checkSession(session time.Duration) *kerr.Error {
	if session < r.minSession || session > r.maxSession {
		return kerr.InvalidSessionTimeout
	}
	return nil
}

func (m *machine) onJoin(e joinEvent, now time.Time) {
	switch {
	case !m.roomFor(e.memberID):
		if x := m.member(e.memberID); x != nil {
			m.remove(x, now)
		}
		m.refuseJoin(e.from, "", kerr.GroupMaxSizeReached)
	case m.state == dead:
		m.refuseJoin(e.from, e.memberID, kerr.CoordinatorNotAvailable)
	case !m.supports(e.protocolType, e.protocols):
		m.refuseJoin(e.from, e.memberID, kerr.InconsistentGroupProtocol)
	case e.memberID != "":
		m.joinKnown(e, now)
	case e.instanceID != nil:
		m.joinStatic(e, now)
	case e.needsKnownID:
		m.pendingIDs[e.newID] = now.Add(e.session)
		m.refuseJoin(e.from, e.newID, kerr.MemberIDRequired)
	default:
		m.addMember(e, e.newID, now)
	}
}

// roomFor checks group.max.size. During a join phase those who are back count, else all members.
func (m *machine) roomFor(memberID string) bool {
	x := m.member(memberID)
	switch m.state {
	case preparing:
		return x != nil && x.join != 0 || m.awaitingJoin() < m.rules.maxSize
	case completing, stable:
		return x != nil || len(m.members) < m.rules.maxSize
	}
	return true
}

// supports reports whether a member with these protocols fits the group: of the same type, and with at least one
// protocol that all members support.
func (m *machine) supports(protocolType string, protocols []protocol) bool {
	if len(m.members) == 0 {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == m.protocolType && slices.ContainsFunc(protocols, func(p protocol) bool { return m.supportedByAll(p.name) })
}

func (m *machine) supportedByAll(name string) bool {
	for _, x := range m.members {
		if !slices.ContainsFunc(x.protocols, func(p protocol) bool { return p.name == name }) {
			return false
		}
	}
	return true
}

// choose is the protocol that most members prefer among those that all support; the first named wins a tie.
func (m *machine) choose() string {
	votes, best := map[string]int{}, ""
	for _, x := range m.members {
		for _, p := range x.protocols {
			if m.supportedByAll(p.name) {
				votes[p.name]++
				break
			}
		}
	}
	for _, x := range m.members {
		for _, p := range x.protocols {
			if votes[p.name] > votes[best] {
				best = p.name
			}
		}
	}
	return best
}

func (m *machine) joinKnown(e joinEvent, now time.Time) {
	if _, ok := m.pendingIDs[e.memberID]; ok && e.instanceID == nil {
		m.addMember(e, e.memberID, now)
		return
	}
	x, err := m.validate(e.memberID, e.instanceID)
	if err != nil {
		m.refuseJoin(e.from, e.memberID, err)
		return
	}
	leads := x.id == m.leader
	switch same := x.matches(e.protocols); {
	case m.state == empty:
		m.refuseJoin(e.from, e.memberID, kerr.UnknownMemberID)
	case m.state == completing && same, m.state == stable && same && !leads:
		// It lost the answer to its join: the generation goes on.
		x.touch(now)
		m.reply(e.from, m.joinedAs(x, leads && m.state == completing))
	default:
		m.rejoin(x, e, now)
		m.advance(now)
	}
}

// rejoin parks the join of a member, with what it says about itself now.
func (m *machine) rejoin(x *member, e joinEvent, now time.Time) {
	if x.join != 0 { // a request whose client is gone, or it would not ask again
		m.refuseJoin(x.join, x.id, kerr.RebalanceInProgress)
	}
	x.join, x.protocols, x.session, x.rebalance = e.from, e.protocols, e.session, e.rebalance
	x.clientID, x.clientHost = e.clientID, e.clientHost
	x.touch(now)
}

func (m *machine) addMember(e joinEvent, id string, now time.Time) {
	delete(m.pendingIDs, id)
	x := &member{id: id, instanceID: e.instanceID, isNew: true}
	m.rejoin(x, e, now)
	x.expires = now.Add(newMemberTimeout)
	if len(m.members) == 0 {
		m.protocolType, m.leader = e.protocolType, id
	}
	m.members = append(m.members, x)
	if x.instanceID != nil {
		m.static[*x.instanceID] = id
	}
	m.joinedLately = true
	m.advance(now)
}

// replaced is what is needed to undo the take-over of a static member.
type replaced struct {
	to     ticket
	before member
	id     string // its new one
	skips  bool   // its client knows skipAssignment
	leader string // before
}

// joinStatic joins a static member without an id: a new one, or a process that takes over the place of its former
// self. In a stable group whose protocol that does not change there is no rebalance (KIP-345).
func (m *machine) joinStatic(e joinEvent, now time.Time) {
	old, known := m.static[*e.instanceID]
	if !known {
		m.addMember(e, e.newID, now)
		return
	}
	x := m.member(old)
	before, leader := *x, m.leader
	if x.join != 0 {
		m.refuseJoin(x.join, x.id, kerr.FencedInstanceID)
	}
	if x.sync != 0 {
		m.reply(x.sync, synced{err: kerr.FencedInstanceID})
	}
	before.join, before.sync, x.join, x.sync = 0, 0, 0, 0
	m.rename(x, e.newID)
	m.rejoin(x, e, now)
	if m.state != stable || m.choose() != m.protocol {
		m.advance(now)
		return
	}
	x.join = 0
	r := &replaced{to: e.from, before: before, id: x.id, skips: e.skipsAssignment, leader: leader}
	if m.pending != nil && m.pending.static != nil { // the former take-over is not persisted yet: the last one decides
		m.refuseJoin(m.pending.static.to, m.pending.static.id, kerr.FencedInstanceID)
	}
	m.pending = &save{id: m.save(m.assignments(), now), generation: m.generation, static: r}
}

// rename gives a static member another id, in all places.
func (m *machine) rename(x *member, id string) {
	if m.leader == x.id {
		m.leader = id
	}
	if m.unsynced[x.id] {
		delete(m.unsynced, x.id)
		m.unsynced[id] = true
	}
	m.static[*x.instanceID] = id
	x.id = id
}

// takenOver answers a static member that took over in a stable group, once that is persisted, or undoes it.
func (m *machine) takenOver(r *replaced, err *kerr.Error) {
	x := m.member(r.id)
	switch {
	case x == nil:
		m.refuseJoin(r.to, r.id, kerr.UnknownMemberID)
	case err != nil:
		m.rename(x, r.before.id)
		x.protocols, x.session, x.rebalance = r.before.protocols, r.before.session, r.before.rebalance
		m.reply(r.to, joined{err: err, generation: -1, leader: r.leader})
	default:
		a := m.joinedAs(x, r.skips && x.id == m.leader)
		if r.skips {
			a.skipAssignment = x.id == m.leader
		} else {
			a.leader = r.leader // an older client that believed to lead would assign anew
		}
		m.reply(r.to, a)
	}
}

// parkTakeOver makes the static member part of the rebalance that begins before its take-over was persisted.
func (m *machine) parkTakeOver(r *replaced) {
	if x := m.member(r.id); x != nil {
		x.join = r.to
	} else {
		m.refuseJoin(r.to, r.id, kerr.UnknownMemberID)
	}
}

// joinedAs is the answer to the join of x in the current generation.
func (m *machine) joinedAs(x *member, withMembers bool) joined {
	a := joined{generation: m.generation, protocolType: new(m.protocolType), protocol: new(m.protocol), leader: m.leader, memberID: x.id}
	if withMembers {
		for _, y := range m.members {
			a.members = append(a.members, joinedMember{y.id, y.instanceID, y.metadata(m.protocol)})
		}
	}
	return a
}
