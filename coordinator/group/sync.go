package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func (m *machine) onSync(e syncEvent, now time.Time) {
	x, err := m.checkSync(e)
	if err != nil {
		m.reply(e.from, synced{err: err})
		return
	}
	delete(m.unsynced, x.id)
	if m.state == stable {
		x.touch(now)
		m.reply(e.from, m.syncedAs(x))
		return
	}
	if x.sync != 0 {
		m.reply(x.sync, synced{err: kerr.RebalanceInProgress}) // its client asked again
	}
	x.sync = e.from
	if x.id == m.leader && m.pending == nil {
		m.pending = &save{id: m.save(e.assignments, now), generation: m.generation, assignments: e.assignments}
		if m.pending.assignments == nil {
			m.pending.assignments = map[string][]byte{}
		}
	}
}

// checkSync refuses what has no place in the current generation.
func (m *machine) checkSync(e syncEvent) (*member, *kerr.Error) {
	if m.state == dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	x, err := m.validate(e.memberID, e.instanceID)
	switch {
	case err != nil:
		return nil, err
	case e.generation != m.generation:
		return nil, kerr.IllegalGeneration
	case differs(e.protocolType, m.protocolType), differs(e.protocol, m.protocol):
		return nil, kerr.InconsistentGroupProtocol
	case m.state == preparing:
		return nil, kerr.RebalanceInProgress
	}
	return x, nil
}

// differs reports whether a name is given and not the group's, if the group has one yet.
func differs(given *string, ours string) bool { return given != nil && ours != "" && *given != ours }

func (m *machine) syncedAs(x *member) synced {
	return synced{protocolType: new(m.protocolType), protocol: new(m.protocol), assignment: x.assignment}
}

// onSaved goes on after Postgres answered.
func (m *machine) onSaved(e savedEvent, now time.Time) {
	p := m.pending
	if p == nil || p.id != e.id {
		return // nobody waits for it
	}
	m.pending = nil
	switch {
	case p.static != nil:
		m.takenOver(p.static, e.err)
	case m.state != completing || m.generation != p.generation:
		// a rebalance has begun meanwhile and answered the syncs
	case e.err != nil:
		m.answerSyncs(e.err, now)
		m.beginRebalance(now)
	default:
		m.enter(stable, now)
		for _, x := range m.members {
			x.assignment = p.assignments[x.id]
			if x.sync != 0 {
				x.touch(now)
				m.reply(x.sync, m.syncedAs(x))
				x.sync = 0
			}
		}
	}
}

func (m *machine) onHeartbeat(e heartbeatEvent, now time.Time) *kerr.Error {
	if m.state == dead {
		return kerr.CoordinatorNotAvailable
	}
	x, err := m.validate(e.memberID, e.instanceID)
	if err != nil {
		return err
	}
	if e.generation != m.generation {
		return kerr.IllegalGeneration
	}
	x.touch(now)
	if m.state == preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}

// onCommit decides whether offsets may be committed. Who has neither generation nor member id is a simple consumer,
// and may commit while the group has no members.
func (m *machine) onCommit(e commitEvent, now time.Time) *kerr.Error {
	switch {
	case m.state == dead:
		return kerr.CoordinatorNotAvailable
	case e.generation < 0 && m.state == empty:
		m.stored, m.committed = true, now
		return nil
	case e.generation < 0 && e.memberID == "" && e.instanceID == nil:
		return kerr.UnknownMemberID
	}
	x, err := m.validate(e.memberID, e.instanceID)
	switch {
	case err != nil:
		return err
	case e.generation != m.generation:
		return kerr.IllegalGeneration
	case m.state == completing:
		return kerr.RebalanceInProgress
	}
	x.touch(now)
	return nil
}
