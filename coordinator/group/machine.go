package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// state is the state of a classic group.
type state int8

const (
	empty      state = iota
	preparing        // members are joining
	completing       // members wait for the leader's assignment
	stable
	dead // being deleted
)

// String is the name that DescribeGroups and ListGroups report.
func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// newMemberTimeout is how long a member that joins for the first time may be parked before it counts as gone: its
// client has no heartbeats yet.
const newMemberTimeout = 5 * time.Minute

// rules are the settings that machines obey.
type rules struct {
	minSession, maxSession time.Duration // group.min/max.session.timeout.ms
	initialDelay           time.Duration // group.initial.rebalance.delay.ms
	maxSize                int           // group.max.size
}

// ticket names a request that waits for its reply; 0: none.
type ticket int64

// Events of a machine. A ticket is answered by exactly one reply effect, perhaps of a later Step.
type (
	joinEvent struct {
		from                 ticket
		memberID, newID      string // newID: what a member without an id is called from now on
		instanceID           *string
		clientID, clientHost string
		session, rebalance   time.Duration
		protocolType         string
		protocols            []protocol
		needsKnownID         bool // KIP-394: a dynamic member must first learn its id
		skipsAssignment      bool // v9+
	}
	syncEvent struct {
		from                   ticket
		memberID               string
		instanceID             *string
		generation             int32
		protocolType, protocol *string
		assignments            map[string][]byte
	}
	heartbeatEvent struct {
		from       ticket
		memberID   string
		instanceID *string
		generation int32
	}
	leaveEvent struct {
		from    ticket
		members []memberRef
	}
	// commitEvent asks whether offsets may be committed; newer says whether GROUP_ID_NOT_FOUND is known (v9+).
	commitEvent struct {
		from       ticket
		memberID   string
		instanceID *string
		generation int32
		newer      bool
		partitions []metadata.TopicPartition
	}
	// deleteEvent deletes an empty group; with idleSince, only if nothing was committed and nobody left since then.
	deleteEvent struct {
		from      ticket
		idleSince time.Time
	}
	// savedEvent is the result of a save effect, deletedEvent that of a remove effect.
	savedEvent struct {
		id  int64
		err *kerr.Error
	}
	deletedEvent struct{ err *kerr.Error }
	// tickEvent says that time passed: deadlines up to now are due.
	tickEvent struct{}
)

// memberRef names a member by id, by instance id, or both.
type memberRef struct {
	memberID   string
	instanceID *string
}

// protocol is one assignor that a member supports, with its opaque metadata.
type protocol struct {
	name     string
	metadata []byte
}

// Effects of a Step, to be carried out in order.
type (
	replyEffect struct {
		to   ticket
		body any // joined, synced, left, *kerr.Error (nil: success)
	}
	// saveEffect persists; its result comes back as savedEvent with the same id.
	saveEffect struct {
		id    int64
		state metadata.GroupState
	}
	// removeEffect deletes the group and its offsets; its result comes back as deletedEvent.
	removeEffect struct{}
)

// joined answers a joinEvent.
type joined struct {
	err                    *kerr.Error
	generation             int32
	protocolType, protocol *string
	leader, memberID       string
	skipAssignment         bool
	members                []joinedMember // for the leader only
}

type joinedMember struct {
	memberID   string
	instanceID *string
	metadata   []byte
}

// synced answers a syncEvent.
type synced struct {
	err                    *kerr.Error
	protocolType, protocol *string
	assignment             []byte
}

// left answers a leaveEvent, one result per member asked for.
type left struct {
	err     *kerr.Error
	members []*kerr.Error
}

// member is one member of a group.
type member struct {
	id                   string
	instanceID           *string
	clientID, clientHost string
	session, rebalance   time.Duration
	protocols            []protocol
	assignment           []byte
	join, sync           ticket // parked requests
	isNew                bool   // joined, and no generation completed since
	expires              time.Time
}

// machine is the state of one classic group. It is pure: see Step.
type machine struct {
	id    string
	shard int32
	rules *rules

	state        state
	since        time.Time // when state was entered
	committed    time.Time // when a simple consumer last committed
	fromEmpty    bool      // preparing was entered from empty
	generation   int32
	protocolType string
	protocol     string // chosen, while there are members past a join phase
	leader       string
	members      []*member            // in the order of joining
	static       map[string]string    // instance id → member id
	pendingIDs   map[string]time.Time // ids given out by MEMBER_ID_REQUIRED → when they lapse
	unsynced     map[string]bool      // members that did not sync in this generation

	joinDue      time.Time     // end of the join phase
	syncDue      time.Time     // when unsynced members are removed
	initialLeft  time.Duration // how much longer the first rebalance may be put off
	joinedLately bool          // somebody joined since joinDue was set, for the same purpose

	saving  int64 // id of the last save effect
	pending *save // the save that replies wait for
	deleter ticket
	stored  bool // Postgres has, or is about to have, a row

	effects []any // of the current Step
}

// save is a saveEffect whose result somebody waits for.
type save struct {
	id          int64
	generation  int32
	assignments map[string][]byte // leader's sync
	static      *replaced         // static member that took over
}

func newMachine(id string, shard int32, r *rules, now time.Time) *machine {
	return &machine{id: id, shard: shard, rules: r, since: now, static: map[string]string{}, pendingIDs: map[string]time.Time{}, unsynced: map[string]bool{}}
}

// Step applies an event at time now and returns what is to be done, in order. now never goes back.
func (m *machine) Step(event any, now time.Time) []any {
	m.effects = nil
	switch e := event.(type) {
	case joinEvent:
		m.onJoin(e, now)
	case syncEvent:
		m.onSync(e, now)
	case heartbeatEvent:
		m.reply(e.from, m.onHeartbeat(e, now))
	case leaveEvent:
		m.onLeave(e, now)
	case commitEvent:
		m.reply(e.from, m.onCommit(e, now))
	case deleteEvent:
		m.onDelete(e, now)
	case savedEvent:
		m.onSaved(e, now)
	case deletedEvent:
		if e.err != nil {
			m.enter(empty, now)
		}
		m.reply(m.deleter, e.err)
	case tickEvent:
		m.onTick(now)
	default:
		panic("group: unknown event")
	}
	effects := m.effects
	m.effects = nil
	return effects
}

// deadline is when the next tickEvent is due; zero: never.
func (m *machine) deadline() time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	earlier(m.joinDue)
	earlier(m.syncDue)
	for _, t := range m.pendingIDs {
		earlier(t)
	}
	for _, x := range m.members {
		if !x.parked() || x.isNew {
			earlier(x.expires)
		}
	}
	return first
}

// disposable reports whether nothing would be lost by forgetting the group.
func (m *machine) disposable() bool {
	return m.state == empty && !m.stored && len(m.pendingIDs) == 0
}

// idle reports whether the group has been empty since limit, with nothing committed, and since when.
func (m *machine) idle(limit time.Time) (since time.Time, ok bool) {
	return m.since, m.state == empty && len(m.pendingIDs) == 0 && !m.since.After(limit) && !m.committed.After(limit)
}

func (m *machine) summary() summary {
	return summary{kind: classicType, state: m.state.String(), protocolType: m.protocolType, vacant: m.state == empty, saves: m.saving, stored: m.stored}
}

func (m *machine) enter(s state, now time.Time) {
	m.fromEmpty = s == preparing && m.state == empty
	m.state, m.since = s, now
}

func (m *machine) reply(to ticket, body any) {
	if to != 0 {
		m.effects = append(m.effects, replyEffect{to, body})
	}
}

// save persists the group as it is, with the given assignments, and returns the id of the effect.
func (m *machine) save(assignments map[string][]byte, now time.Time) int64 {
	m.saving++
	m.stored = true
	m.effects = append(m.effects, saveEffect{m.saving, m.snapshot(assignments, now)})
	return m.saving
}

func (m *machine) member(id string) *member {
	if i := slices.IndexFunc(m.members, func(x *member) bool { return x.id == id }); i >= 0 {
		return m.members[i]
	}
	return nil
}

// validate checks that a member is who it says: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when another member has taken
// its instance id (KIP-345).
func (m *machine) validate(memberID string, instanceID *string) (*member, *kerr.Error) {
	if instanceID != nil {
		switch current, ok := m.static[*instanceID]; {
		case !ok:
			return nil, kerr.UnknownMemberID
		case current != memberID:
			return nil, kerr.FencedInstanceID
		}
	}
	if x := m.member(memberID); x != nil {
		return x, nil
	}
	return nil, kerr.UnknownMemberID
}

// rebalanceTimeout is the longest of the members'.
func (m *machine) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, x := range m.members {
		longest = max(longest, x.rebalance)
	}
	return longest
}

func (m *machine) awaitingJoin() int {
	n := 0
	for _, x := range m.members {
		if x.join != 0 {
			n++
		}
	}
	return n
}

func (x *member) parked() bool { return x.join != 0 || x.sync != 0 }

func (x *member) touch(now time.Time) { x.expires = now.Add(x.session) }

func (x *member) metadata(protocol string) []byte {
	for _, p := range x.protocols {
		if p.name == protocol {
			return p.metadata
		}
	}
	return nil
}

// matches reports whether the member has joined with the same protocols before.
func (x *member) matches(protocols []protocol) bool {
	return slices.EqualFunc(x.protocols, protocols, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}
