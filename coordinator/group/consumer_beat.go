package group

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// refuseBeat answers a heartbeat with an error and Kafka's sentence for it.
func (m *consumer) refuseBeat(to ticket, err *kerr.Error, format string, args ...any) {
	m.answer(to, beaten{err: err, message: fmt.Sprintf(format, args...)})
}

func (m *consumer) onBeat(e beatEvent, now time.Time) {
	switch {
	case e.frozen && e.epoch <= joining:
		m.answer(e.from, kerr.CoordinatorNotAvailable)
		return
	case m.dead:
		m.refuseBeat(e.from, kerr.CoordinatorNotAvailable, "The group %s is being deleted.", m.id)
		return
	case e.epoch == leaving || e.epoch == leavingAsStatic:
		m.onLeaveBeat(e)
		return
	case m.members[e.memberID] == nil && len(m.members) >= m.rules.maxSize:
		m.refuseBeat(e.from, kerr.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", m.rules.maxSize)
		return
	}
	x := m.admit(e)
	if x == nil {
		return
	}
	x.expires = now.Add(m.rules.session)
	if e.frozen {
		m.beatFrozen(x, e)
		return
	}
	before := x.Assigned
	if subscription := m.update(x, e); subscription || m.epoch == 0 || m.stale {
		m.refresh(subscription)
	}
	if m.epoch > m.assignmentEpoch {
		m.assign()
	}
	m.reconcile(x, e.owned, now)
	a := beaten{memberID: x.MemberID, epoch: x.Epoch}
	full := e.rebalance >= 0 && (e.topics != nil || e.regex != nil) && e.owned != nil
	if e.epoch == joining || full || !sameKeys(before, x.Assigned) {
		a.assignment = maps.Clone(x.Assigned)
	}
	m.promise(e.from, a, x.version)
}

// beatFrozen keeps a session while Postgres is away. A heartbeat that says something new has to be sent again, lest it be
// forgotten: clients say it once.
func (m *consumer) beatFrozen(x *consumerMember, e beatEvent) {
	if e.owned != nil || e.topics != nil || e.regex != nil || e.assignor != nil {
		m.answer(e.from, kerr.CoordinatorNotAvailable)
		return
	}
	m.answer(e.from, beaten{memberID: x.MemberID, epoch: e.epoch})
}

// admit finds the member of a heartbeat, or lets it join. nil: it has been refused.
func (m *consumer) admit(e beatEvent) *consumerMember {
	if e.instanceID != nil {
		return m.admitStatic(e)
	}
	x := m.members[e.memberID]
	switch {
	case x == nil && e.epoch == joining:
		return m.add(e)
	case x == nil:
		m.refuseBeat(e.from, kerr.UnknownMemberID, "Member %s is not a member of group %s.", e.memberID, m.id)
		return nil
	}
	return m.checkEpoch(x, e)
}

func (m *consumer) admitStatic(e beatEvent) *consumerMember {
	x := m.members[m.static[*e.instanceID]]
	switch {
	case x == nil && e.epoch == joining:
		if old := m.members[e.memberID]; old != nil { // it has taken a name since: the coordinator knows it by that
			if old.InstanceID != nil {
				delete(m.static, *old.InstanceID)
			}
			old.InstanceID = e.instanceID
			m.static[*e.instanceID] = old.MemberID
			m.changed(old)
			return old
		}
		return m.add(e)
	case x == nil:
		m.refuseBeat(e.from, kerr.UnknownMemberID, "Instance id %s is unknown.", *e.instanceID)
		return nil
	case e.epoch == joining && x.Epoch != leavingAsStatic:
		m.refuseBeat(e.from, kerr.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
			e.memberID, *e.instanceID, x.MemberID)
		return nil
	case e.epoch == joining:
		return m.replace(x, e)
	case x.MemberID != e.memberID:
		m.refuseBeat(e.from, kerr.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", e.memberID, *e.instanceID, x.MemberID)
		return nil
	}
	return m.checkEpoch(x, e)
}

// checkEpoch refuses a member that is not where the coordinator knows it to be. One that lost the answer to its last
// heartbeat may go on from the epoch before.
func (m *consumer) checkEpoch(x *consumerMember, e beatEvent) *consumerMember {
	switch {
	case e.epoch == joining || e.epoch == x.Epoch, e.epoch < x.Epoch && e.epoch == x.PreviousEpoch && e.owned != nil && subset(e.owned, x.Assigned):
		if m.refusesPattern(e) {
			return nil
		}
		return x
	case e.epoch > x.Epoch:
		m.refuseBeat(e.from, kerr.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", e.epoch, x.Epoch)
	default:
		m.refuseBeat(e.from, kerr.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", e.epoch, x.Epoch)
	}
	return nil
}

func (m *consumer) add(e beatEvent) *consumerMember {
	if m.refusesPattern(e) {
		return nil
	}
	x := &consumerMember{ConsumerMember: metadata.ConsumerMember{MemberID: e.memberID, InstanceID: e.instanceID}}
	m.members[e.memberID] = x
	if e.instanceID != nil {
		m.static[*e.instanceID] = e.memberID
	}
	m.changed(x)
	return x
}

// replace gives the place of a static member that has left for a while to its successor, with partitions and target.
func (m *consumer) replace(old *consumerMember, e beatEvent) *consumerMember {
	if m.refusesPattern(e) {
		return nil
	}
	if taken := m.members[e.memberID]; taken != nil && taken != old {
		m.remove(taken)
	}
	delete(m.members, old.MemberID)
	x := *old
	x.MemberID, x.Epoch, x.PreviousEpoch = e.memberID, 0, 0
	m.members[x.MemberID] = &x
	m.static[*e.instanceID] = x.MemberID
	m.own(&x, x.Assigned, x.Revoking)
	m.changed(&x)
	return &x
}

// update takes over what a member says about itself, and reports whether its subscription has changed.
func (m *consumer) update(x *consumerMember, e beatEvent) (subscription bool) {
	next := x.ConsumerMember
	if e.rackID != nil {
		next.RackID = e.rackID
	}
	if e.rebalance >= 0 {
		next.RebalanceTimeout = e.rebalance
	}
	if e.assignor != nil {
		next.Assignor = *e.assignor
	}
	if e.topics != nil {
		next.Topics = slices.Compact(slices.Sorted(slices.Values(e.topics)))
	}
	if e.regex != nil {
		next.Regex = *e.regex
	}
	next.ClientID, next.ClientHost = e.clientID, e.clientHost
	old := x.ConsumerMember
	subscription = next.Regex != old.Regex || !slices.Equal(next.Topics, old.Topics)
	if subscription || !equal(next.RackID, old.RackID) || next.RebalanceTimeout != old.RebalanceTimeout || next.Assignor != old.Assignor ||
		next.ClientID != old.ClientID || next.ClientHost != old.ClientHost {
		x.ConsumerMember = next
		m.changed(x)
	}
	if next.Regex != old.Regex {
		m.forgetPatterns()
	}
	return subscription
}

// onLeaveBeat takes a member out, or notes that a static member will be back.
func (m *consumer) onLeaveBeat(e beatEvent) {
	x := m.members[e.memberID]
	if e.instanceID != nil {
		switch x = m.members[m.static[*e.instanceID]]; {
		case x == nil:
			m.refuseBeat(e.from, kerr.UnknownMemberID, "Instance id %s is unknown.", *e.instanceID)
			return
		case x.MemberID != e.memberID:
			m.refuseBeat(e.from, kerr.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", e.memberID, *e.instanceID, x.MemberID)
			return
		}
	}
	if x == nil {
		m.refuseBeat(e.from, kerr.UnknownMemberID, "Member %s is not a member of group %s.", e.memberID, m.id)
		return
	}
	if e.epoch == leaving {
		m.remove(x)
	} else {
		x.Epoch, x.PreviousEpoch, x.state, x.fencedAt = leavingAsStatic, x.Epoch, settled, time.Time{}
		m.own(x, x.Assigned, nil)
		m.changed(x)
	}
	m.promise(e.from, beaten{memberID: e.memberID, epoch: e.epoch}, m.version)
}

func equal(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func subset(owned []metadata.TopicPartition, of map[metadata.TopicPartition]int32) bool {
	return !slices.ContainsFunc(owned, func(tp metadata.TopicPartition) bool { _, ok := of[tp]; return !ok })
}

func sameKeys(a, b map[metadata.TopicPartition]int32) bool {
	if len(a) != len(b) {
		return false
	}
	for tp := range a {
		if _, ok := b[tp]; !ok {
			return false
		}
	}
	return true
}
