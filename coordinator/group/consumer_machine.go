package group

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// consumerRules are the settings that groups of the consumer protocol obey.
type consumerRules struct {
	session   time.Duration // group.consumer.session.timeout.ms
	interval  time.Duration // group.consumer.heartbeat.interval.ms
	maxSize   int           // group.consumer.max.size
	assignors []string      // group.consumer.assignors, the default first
}

// Epochs that a heartbeat may name instead of the member's.
const (
	joining         = 0  // join, or join again after being fenced
	leaving         = -1 // for good
	leavingAsStatic = -2 // a static member that will be back: its partitions wait for it until its session ends
)

// memberState is where a member stands on the way to its target.
type memberState int8

const (
	settled    memberState = iota // it has what the target of its epoch says (Kafka: STABLE)
	unrevoked                     // it must first give up partitions (UNREVOKED_PARTITIONS)
	unreleased                    // others must first give up partitions (UNRELEASED_PARTITIONS)
)

// Events of a consumer machine, besides commitEvent, deleteEvent, savedEvent, deletedEvent, tickEvent and those of the
// classic protocol, which it refuses.
type (
	// beatEvent is a ConsumerGroupHeartbeat. What is nil has not changed since the member's last one.
	beatEvent struct {
		from                 ticket
		memberID             string
		epoch                int32
		instanceID, rackID   *string
		clientID, clientHost string
		rebalance            time.Duration // negative: not said
		topics               []string
		regex, assignor      *string
		owned                []metadata.TopicPartition
		// frozen: Postgres is away. Nothing may change, the member's session goes on.
		frozen bool
	}
	// topicsEvent says that topics were created, deleted, or got more partitions.
	topicsEvent struct{ image *metadata.Image }
)

// beaten answers a beatEvent.
type beaten struct {
	err      *kerr.Error
	message  string
	memberID string
	epoch    int32
	// assignment is what the member shall own; nil: as it knows.
	assignment map[metadata.TopicPartition]int32
}

// consumerMember is a member of a consumer group.
type consumerMember struct {
	metadata.ConsumerMember
	state    memberState
	target   map[metadata.TopicPartition]bool
	expires  time.Time // end of the session
	fencedAt time.Time // when the member is fenced unless it has revoked its partitions; zero: none to revoke
	version  int64     // of the group when this member last changed
}

// consumer is the state of one group of the consumer protocol (KIP-848). It is pure, as machine is.
//
// Every change raises version. A reply that shows a change waits until Postgres has it; one write is under way at a time,
// and covers all changes made until it began. After a failed write the state in memory is ahead of Postgres, which
// nobody has seen: clients were answered with an error, and the next heartbeat writes again.
type consumer struct {
	id    string
	shard int32
	rules *consumerRules

	dead            bool
	since           time.Time // when the state last changed
	committed       time.Time // when a simple consumer last committed
	epoch           int32
	assignmentEpoch int32
	members         map[string]*consumerMember
	static          map[string]string // instance id → member id
	owner           map[metadata.TopicPartition]string
	image           *metadata.Image
	topics          map[metadata.TopicID]int32 // subscribed ones and their partitions, at epoch
	stale           bool                       // topics may differ from the image
	patterns        map[string]*pattern

	version, saved int64 // changes made, changes that Postgres has
	saving         int64 // id of the last save effect
	flying         int64 // version that is being saved; 0: none
	waiting        []held
	deleter        ticket
	stored         bool // Postgres has, or is about to have, a row

	effects []any // of the current Step
}

// held is a reply that waits for a version to be saved.
type held struct {
	replyEffect
	version int64
}

func newConsumer(id string, shard int32, r *consumerRules, image *metadata.Image, now time.Time) *consumer {
	return &consumer{id: id, shard: shard, rules: r, image: image, since: now, members: map[string]*consumerMember{}, static: map[string]string{},
		owner: map[metadata.TopicPartition]string{}, topics: map[metadata.TopicID]int32{}, patterns: map[string]*pattern{}}
}

// Step applies an event at time now and returns what is to be done, in order. now never goes back.
func (m *consumer) Step(event any, now time.Time) []any {
	m.effects = nil
	before := m.status()
	switch e := event.(type) {
	case beatEvent:
		m.onBeat(e, now)
	case topicsEvent:
		m.image, m.stale = e.image, true
	case commitEvent:
		m.answer(e.from, m.onCommit(e, now))
	case deleteEvent:
		m.onDelete(e)
	case savedEvent:
		m.onSaved(e)
	case deletedEvent:
		m.dead = e.err == nil
		m.answer(m.deleter, e.err)
	case tickEvent:
		m.onTick(now)
	default:
		m.refuseClassic(event)
	}
	if m.status() != before {
		m.since = now
	}
	if _, failed := event.(savedEvent); !failed || len(m.waiting) > 0 {
		m.save()
	}
	effects := m.effects
	m.effects = nil
	return effects
}

// answer replies at once.
func (m *consumer) answer(to ticket, body any) {
	if to != 0 {
		m.effects = append(m.effects, replyEffect{to, body})
	}
}

// promise replies when Postgres has that version.
func (m *consumer) promise(to ticket, body any, version int64) {
	if version <= m.saved {
		m.answer(to, body)
		return
	}
	m.waiting = append(m.waiting, held{replyEffect{to, body}, version})
}

// changed raises the version, and that of x unless it is nil.
func (m *consumer) changed(x *consumerMember) {
	m.version++
	if x != nil {
		x.version = m.version
	}
}

// save writes what has changed, unless a write is under way.
func (m *consumer) save() {
	if m.dead || m.flying != 0 || m.version == m.saved {
		return
	}
	m.saving++
	m.stored = true
	m.flying = m.version
	m.effects = append(m.effects, saveEffect{m.saving, m.snapshot()})
}

// onSaved answers those who waited for the write.
func (m *consumer) onSaved(e savedEvent) {
	if e.id != m.saving || m.flying == 0 {
		return // of the classic group that this one replaced
	}
	done := m.flying
	m.flying = 0
	if e.err == nil {
		m.saved = done
	}
	waiting := m.waiting
	m.waiting = nil
	for _, h := range waiting {
		switch {
		case h.version > done:
			m.waiting = append(m.waiting, h)
		case e.err != nil:
			m.answer(h.to, e.err)
		default:
			m.answer(h.to, h.body)
		}
	}
}

// deadline is when the next tickEvent is due; zero: never.
func (m *consumer) deadline() time.Time {
	var first time.Time
	for _, x := range m.members {
		for _, t := range []time.Time{x.expires, x.fencedAt} {
			if !t.IsZero() && (first.IsZero() || t.Before(first)) {
				first = t
			}
		}
	}
	return first
}

// onTick removes members whose session or time to revoke is over.
func (m *consumer) onTick(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(m.members)) {
		x := m.members[id]
		if !x.expires.After(now) || !x.fencedAt.IsZero() && !x.fencedAt.After(now) {
			m.remove(x)
		}
	}
}

// disposable reports whether nothing would be lost by forgetting the group.
func (m *consumer) disposable() bool {
	return len(m.members) == 0 && !m.stored && len(m.waiting) == 0
}

// idle reports whether the group has been empty since limit, with nothing committed, and since when.
func (m *consumer) idle(limit time.Time) (since time.Time, ok bool) {
	return m.since, len(m.members) == 0 && !m.dead && !m.since.After(limit) && !m.committed.After(limit)
}

func (m *consumer) summary() summary {
	return summary{kind: consumerType, state: m.status(), protocolType: "consumer", vacant: len(m.members) == 0 && !m.dead && len(m.waiting) == 0, saves: m.saving, stored: m.stored}
}

// status is the state that tools show.
func (m *consumer) status() string {
	switch {
	case m.dead:
		return "Dead"
	case len(m.members) == 0:
		return "Empty"
	case m.epoch > m.assignmentEpoch:
		return "Assigning"
	}
	for _, x := range m.members {
		if x.state != settled || x.Epoch != m.assignmentEpoch {
			return "Reconciling"
		}
	}
	return "Stable"
}

// onDelete deletes the group if it is empty. Until Postgres has done so it is dead, and nothing may happen to it.
func (m *consumer) onDelete(e deleteEvent) {
	touched := !e.idleSince.IsZero() && (m.since.After(e.idleSince) || m.committed.After(e.idleSince))
	switch {
	case m.dead:
		m.answer(e.from, kerr.CoordinatorNotAvailable)
	case len(m.members) > 0 || touched:
		m.answer(e.from, kerr.NonEmptyGroup)
	default:
		m.dead, m.deleter = true, e.from
		m.effects = append(m.effects, removeEffect{})
	}
}

// onCommit decides whether offsets may be committed. A member may be behind its epoch as long as the partitions have been
// its own since the epoch that it names (KIP-1251).
func (m *consumer) onCommit(e commitEvent, now time.Time) *kerr.Error {
	switch {
	case m.dead:
		return kerr.CoordinatorNotAvailable
	case e.generation < 0 && len(m.members) == 0:
		m.stored, m.committed = true, now
		return nil
	}
	x := m.members[e.memberID]
	switch {
	case x == nil:
		return kerr.UnknownMemberID
	case !e.newer:
		return kerr.UnsupportedVersion
	case e.generation == x.Epoch:
		return nil
	case e.generation > x.Epoch || e.generation < 0 || len(e.partitions) == 0:
		return kerr.StaleMemberEpoch
	}
	for _, tp := range e.partitions {
		assigned, ok := x.Assigned[tp]
		if !ok {
			assigned, ok = x.Revoking[tp]
		}
		if !ok || assigned > e.generation {
			return kerr.StaleMemberEpoch
		}
	}
	return nil
}

// mayFetch decides whether a member may fetch offsets.
func (m *consumer) mayFetch(memberID string, epoch int32) *kerr.Error {
	switch x := m.members[memberID]; {
	case x == nil:
		return kerr.UnknownMemberID
	case epoch != x.Epoch:
		return kerr.StaleMemberEpoch
	}
	return nil
}

// refuseClassic answers requests of the classic protocol as Kafka answers those of somebody who is not a classic member.
// An administrator may remove static members with LeaveGroup.
func (m *consumer) refuseClassic(event any) {
	switch e := event.(type) {
	case joinEvent:
		err := kerr.InconsistentGroupProtocol
		switch {
		case len(m.members) == 0 && e.memberID != "":
			err = kerr.UnknownMemberID
		case len(m.members) == 0: // its last change is not saved yet; then the group may change its kind
			err = kerr.CoordinatorNotAvailable
		}
		m.answer(e.from, joined{err: err, generation: -1, memberID: e.memberID})
	case syncEvent:
		m.answer(e.from, synced{err: kerr.UnknownMemberID})
	case heartbeatEvent:
		m.answer(e.from, kerr.UnknownMemberID)
	case leaveEvent:
		var a left
		for _, ref := range e.members {
			var err *kerr.Error = kerr.UnknownMemberID
			if ref.memberID == "" && ref.instanceID != nil {
				if x := m.members[m.static[*ref.instanceID]]; x != nil {
					m.remove(x)
					err = nil
				}
			}
			a.members = append(a.members, err)
		}
		m.promise(e.from, a, m.version)
	default:
		panic(fmt.Sprintf("group: unknown event %T", event))
	}
}

// remove drops a member; the others share what it had.
func (m *consumer) remove(x *consumerMember) {
	m.own(x, nil, nil)
	delete(m.members, x.MemberID)
	if x.InstanceID != nil && m.static[*x.InstanceID] == x.MemberID {
		delete(m.static, *x.InstanceID)
	}
	m.epoch++
	m.changed(nil)
	m.forgetPatterns()
	m.topics = m.subscribed()
}

// own sets what a member has and must give up, and who owns what.
func (m *consumer) own(x *consumerMember, assigned, revoking map[metadata.TopicPartition]int32) {
	for _, old := range []map[metadata.TopicPartition]int32{x.Assigned, x.Revoking} {
		for tp := range old {
			delete(m.owner, tp)
		}
	}
	for _, now := range []map[metadata.TopicPartition]int32{assigned, revoking} {
		for tp := range now {
			m.owner[tp] = x.MemberID
		}
	}
	x.Assigned, x.Revoking = assigned, revoking
}

// sorted are the members in the order in which assignors serve them: static ones by instance id, then the others by id.
func (m *consumer) sorted() []*consumerMember {
	out := slices.Collect(maps.Values(m.members))
	slices.SortFunc(out, func(a, b *consumerMember) int {
		switch {
		case a.InstanceID != nil && b.InstanceID != nil:
			return cmp.Compare(*a.InstanceID, *b.InstanceID)
		case a.InstanceID != nil:
			return -1
		case b.InstanceID != nil:
			return 1
		}
		return cmp.Compare(a.MemberID, b.MemberID)
	})
	return out
}
