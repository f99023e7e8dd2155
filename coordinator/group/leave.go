package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// onLeave removes members. An administrator names a static member by its instance id alone.
func (m *machine) onLeave(e leaveEvent, now time.Time) {
	if m.state == dead {
		m.reply(e.from, left{err: kerr.CoordinatorNotAvailable})
		return
	}
	var a left
	changed := false
	for _, ref := range e.members {
		gone, err := m.leave(ref)
		changed = changed || gone
		a.members = append(a.members, err)
	}
	if changed {
		m.shrunk(now)
	}
	m.reply(e.from, a)
}

func (m *machine) leave(ref memberRef) (gone bool, err *kerr.Error) {
	id := ref.memberID
	if id == "" {
		if ref.instanceID == nil {
			return false, kerr.UnknownMemberID
		}
		id = m.static[*ref.instanceID]
	} else if _, pending := m.pendingIDs[id]; pending {
		delete(m.pendingIDs, id)
		return true, nil
	}
	x, err := m.validate(id, ref.instanceID)
	if err != nil {
		return false, err
	}
	m.drop(x)
	return true, nil
}

// remove drops a member and lets the others rebalance.
func (m *machine) remove(x *member, now time.Time) {
	m.drop(x)
	m.shrunk(now)
}

// shrunk goes on after members or pending ids are gone.
func (m *machine) shrunk(now time.Time) {
	switch m.state {
	case preparing:
		m.advance(now)
	case completing, stable:
		m.beginRebalance(now)
	}
}

// drop forgets a member and answers what it has parked.
func (m *machine) drop(x *member) {
	if x.join != 0 {
		m.refuseJoin(x.join, "", kerr.UnknownMemberID)
	}
	if x.sync != 0 {
		m.reply(x.sync, synced{err: kerr.UnknownMemberID})
	}
	m.members = slices.DeleteFunc(m.members, func(y *member) bool { return y == x })
	delete(m.unsynced, x.id)
	if x.instanceID != nil {
		delete(m.static, *x.instanceID)
	}
	if m.leader == x.id {
		m.leader = ""
		if len(m.members) > 0 {
			m.leader = m.members[0].id
		}
	}
}

// onDelete deletes the group if it is empty. Until Postgres has done so it is dead, and nothing may happen to it.
func (m *machine) onDelete(e deleteEvent, now time.Time) {
	touched := !e.idleSince.IsZero() && (m.since.After(e.idleSince) || m.committed.After(e.idleSince) || len(m.pendingIDs) > 0)
	switch {
	case m.state == dead:
		m.reply(e.from, kerr.CoordinatorNotAvailable)
	case m.state == empty && !touched:
		m.enter(dead, now)
		m.deleter = e.from
		m.effects = append(m.effects, removeEffect{})
	default:
		m.reply(e.from, kerr.NonEmptyGroup)
	}
}
