package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// The group types that ListGroups reports.
const (
	classicType  = "classic"
	consumerType = "consumer" // KIP-848
)

// anyGroup is a group of either kind: *machine or *consumer.
type anyGroup interface {
	Step(event any, now time.Time) []any
	deadline() time.Time
	disposable() bool
	idle(limit time.Time) (since time.Time, ok bool)
	summary() summary
}

// summary is what a shard knows of a group of either kind.
type summary struct {
	kind, state, protocolType string
	vacant                    bool  // without members: it may change its kind
	saves                     int64 // id of the last save effect
	stored                    bool  // Postgres has a row
}

// newGroup makes a group of the kind that the event is for.
func newGroup(id string, shard int32, c *Coordinator, event any, now time.Time) anyGroup {
	if _, ok := event.(beatEvent); ok {
		return newConsumer(id, shard, &c.consumerRules, c.topics.Load(), now)
	}
	return newMachine(id, shard, &c.rules, now)
}

// changesKind reports whether the event makes another kind of the group, which must be vacant.
func changesKind(g summary, event any) bool {
	switch e := event.(type) {
	case beatEvent:
		return g.kind == classicType && g.vacant && e.epoch == joining && !e.frozen
	case joinEvent:
		return g.kind == consumerType && g.vacant && e.memberID == ""
	}
	return false
}

// succeed makes next take the place of a vacant group: its row in Postgres, and its sequence of save effects.
func succeed(next anyGroup, before summary) {
	switch next := next.(type) {
	case *machine:
		next.saving, next.stored = before.saves, before.stored
	case *consumer:
		next.saving, next.stored = before.saves, before.stored
	}
}

// restoreGroup makes a group of what a former coordinator persisted.
func restoreGroup(g metadata.GroupState, c *Coordinator, now time.Time) anyGroup {
	if g.Consumer != nil {
		return restoreConsumer(g, &c.consumerRules, c.topics.Load(), now)
	}
	return restore(g, &c.rules, now)
}

// refuseBeat is the answer of a classic group to a member of the consumer protocol. Groups with members are not migrated.
func (m *machine) refuseBeat() beaten {
	return beaten{err: kerr.GroupIDNotFound, message: "Group " + m.id + " is not a consumer group."}
}

// topicsDiffer reports whether topics were created or deleted, or got more partitions.
func topicsDiffer(a, b *metadata.Image) bool {
	if a == nil || len(a.Topics) != len(b.Topics) {
		return true
	}
	for id, t := range b.Topics {
		if old := a.Topics[id]; old != t && (old == nil || old.Name != t.Name || len(old.Partitions) != len(t.Partitions)) {
			return true
		}
	}
	return false
}
