package group

import (
	"slices"
	"time"

	"varve/metadata"
)

// assign computes what each member shall have at the group's epoch.
func (m *consumer) assign() {
	members := m.sorted()
	in := make([]claimant, len(members))
	topics := map[string]topicSize{}
	for i, x := range members {
		in[i] = claimant{topics: m.subscription(x), had: x.target}
		for _, name := range in[i].topics {
			t := m.image.ByName[name]
			topics[name] = topicSize{t.ID, int32(len(t.Partitions))}
		}
	}
	for i, target := range assignors[m.assignor()](in, topics) {
		members[i].target = target
	}
	m.assignmentEpoch = m.epoch
	m.changed(nil)
}

// assignor is the one that most members prefer; of several, and without a preference, the first of the settings.
func (m *consumer) assignor() string {
	votes := map[string]int{}
	for _, x := range m.members {
		if x.Assignor != "" {
			votes[x.Assignor]++
		}
	}
	best := m.rules.assignors[0]
	for _, name := range m.rules.assignors {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// reconcile takes a member one step towards its target. Partitions that it must give up come first: until it says that it
// no longer owns them it stays in its epoch, and nobody else gets them. Then it gets what nobody else owns, and the epoch
// of the target. owned is what it says it owns; nil: as before.
func (m *consumer) reconcile(x *consumerMember, owned []metadata.TopicPartition, now time.Time) {
	switch {
	case x.state == settled && x.Epoch == m.assignmentEpoch:
		return
	case x.state == unrevoked && ownsAny(owned, x.Revoking):
		return
	}
	assigned, revoking := map[metadata.TopicPartition]int32{}, map[metadata.TopicPartition]int32{}
	for tp, epoch := range x.Assigned {
		if x.target[tp] {
			assigned[tp] = epoch
		} else {
			revoking[tp] = epoch
		}
	}
	if len(revoking) > 0 && ownsAny(owned, revoking) {
		x.state, x.fencedAt = unrevoked, now.Add(x.RebalanceTimeout)
		m.own(x, assigned, revoking)
		m.changed(x)
		return
	}
	next := settled
	for tp := range x.target {
		if _, has := assigned[tp]; has {
			continue
		}
		if owner, owns := m.owner[tp]; owns && owner != x.MemberID {
			next = unreleased
			continue
		}
		assigned[tp] = m.assignmentEpoch
	}
	if x.state == next && x.Epoch == m.assignmentEpoch && sameKeys(assigned, x.Assigned) {
		return
	}
	if x.Epoch != m.assignmentEpoch {
		x.PreviousEpoch, x.Epoch = x.Epoch, m.assignmentEpoch
	}
	x.state, x.fencedAt = next, time.Time{}
	m.own(x, assigned, nil)
	m.changed(x)
}

// ownsAny reports whether a member still owns some of the partitions; it does if it has not said otherwise.
func ownsAny(owned []metadata.TopicPartition, partitions map[metadata.TopicPartition]int32) bool {
	return owned == nil || slices.ContainsFunc(owned, func(tp metadata.TopicPartition) bool { _, ok := partitions[tp]; return ok })
}
