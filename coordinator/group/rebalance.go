package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// advance begins a rebalance, or completes the join phase if that became possible.
func (m *machine) advance(now time.Time) {
	if m.state == preparing {
		if !m.fromEmpty && m.allJoined() {
			m.completeJoin(now)
		}
		return
	}
	m.beginRebalance(now)
}

func (m *machine) allJoined() bool {
	return m.awaitingJoin() == len(m.members) && len(m.pendingIDs) == 0
}

// beginRebalance asks all members to join again. The first rebalance of an empty group waits for more members instead
// (group.initial.rebalance.delay.ms), and again when more came, up to the rebalance timeout.
func (m *machine) beginRebalance(now time.Time) {
	if m.state == completing {
		m.answerSyncs(kerr.RebalanceInProgress, now)
	}
	if p := m.pending; p != nil {
		m.pending = nil // nobody waits any more for what was to be saved of the generation that is over
		if p.static != nil {
			m.parkTakeOver(p.static)
		}
	}
	m.syncDue = time.Time{}
	clear(m.unsynced)
	first := m.state == empty
	m.enter(preparing, now)
	switch {
	case first:
		m.joinedLately = false
		m.initialLeft = max(m.rebalanceTimeout()-m.rules.initialDelay, 0)
		m.joinDue = now.Add(m.rules.initialDelay)
	case m.allJoined():
		m.completeJoin(now)
	default:
		m.joinDue = now.Add(m.rebalanceTimeout())
	}
}

// joinTimedOut ends a join phase whose time is over, or extends the first one.
func (m *machine) joinTimedOut(now time.Time) {
	if m.fromEmpty && m.joinedLately && m.initialLeft > 0 {
		m.joinedLately = false
		m.joinDue = now.Add(min(m.rules.initialDelay, m.initialLeft))
		m.initialLeft = max(m.initialLeft-m.rules.initialDelay, 0)
		return
	}
	m.completeJoin(now)
}

// completeJoin begins the next generation with those who joined. Dynamic members that did not are dropped; static ones
// stay until their session expires.
func (m *machine) completeJoin(now time.Time) {
	m.joinDue = time.Time{}
	for _, x := range slices.Clone(m.members) {
		if x.join == 0 && x.instanceID == nil {
			m.drop(x)
		}
	}
	if len(m.members) > 0 && !m.electLeader() {
		m.joinDue = now.Add(m.rebalanceTimeout()) // only absent static members: somebody must come back or expire
		return
	}
	m.generation++
	if len(m.members) == 0 {
		m.becomeEmpty(now)
		return
	}
	m.protocol = m.choose()
	m.enter(completing, now)
	for _, x := range m.members {
		to := x.join
		x.join, x.isNew = 0, false
		x.touch(now)
		m.unsynced[x.id] = true
		m.reply(to, m.joinedAs(x, x.id == m.leader))
	}
	m.syncDue = now.Add(m.rebalanceTimeout())
}

func (m *machine) becomeEmpty(now time.Time) {
	m.protocol, m.leader = "", ""
	m.syncDue = time.Time{}
	m.enter(empty, now)
	m.save(nil, now)
}

// electLeader keeps the leader if it joined, else takes the first member that did; false: nobody joined.
func (m *machine) electLeader() bool {
	if x := m.member(m.leader); x != nil && x.join != 0 {
		return true
	}
	for _, x := range m.members {
		if x.join != 0 {
			m.leader = x.id
			return true
		}
	}
	return false
}

// onTick handles every deadline up to now.
func (m *machine) onTick(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(m.pendingIDs)) {
		if !m.pendingIDs[id].After(now) {
			delete(m.pendingIDs, id)
			if m.state == preparing {
				m.advance(now)
			}
		}
	}
	for _, x := range slices.Clone(m.members) {
		if due := !x.expires.After(now); due && (x.isNew || !x.parked()) && m.member(x.id) == x {
			m.remove(x, now)
		}
	}
	if !m.syncDue.IsZero() && !m.syncDue.After(now) {
		m.syncTimedOut(now)
	}
	if !m.joinDue.IsZero() && !m.joinDue.After(now) {
		m.joinTimedOut(now)
	}
}

// syncTimedOut removes the members that never asked for their assignment.
func (m *machine) syncTimedOut(now time.Time) {
	m.syncDue = time.Time{}
	gone := slices.Sorted(maps.Keys(m.unsynced))
	if len(gone) == 0 {
		return
	}
	for _, id := range gone {
		if x := m.member(id); x != nil {
			m.drop(x)
		}
	}
	m.beginRebalance(now)
}

// answerSyncs answers all parked syncs with an error and takes the assignments back.
func (m *machine) answerSyncs(err *kerr.Error, now time.Time) {
	for _, x := range m.members {
		if x.sync != 0 {
			x.touch(now)
			m.reply(x.sync, synced{err: err})
		}
		x.sync, x.assignment = 0, nil
	}
}
