package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// consumerProtocol is the protocol type of groups of consumers, whose metadata the broker can read.
const consumerProtocol = "consumer"

// keeper is what a group of either kind knows about its committed offsets.
type keeper interface {
	mayDeleteOffsets() *kerr.Error
	subscribes() func(id metadata.TopicID, name string) bool
	forgets() bool
	expired(offsets []metadata.Offset, name func(metadata.TopicID) string, retention time.Duration, now time.Time) []metadata.Offset
}

// subscription is the set of topics that the members of a group read; known is false when the broker cannot tell.
func (m *machine) subscription() (topics map[string]bool, known bool) {
	if m.protocolType != consumerProtocol {
		return nil, false
	}
	topics = map[string]bool{}
	for _, x := range m.members {
		var meta kmsg.ConsumerMemberMetadata
		if m.protocol == "" || meta.ReadFrom(x.metadata(m.protocol)) != nil {
			return nil, false
		}
		for _, t := range meta.Topics {
			topics[t] = true
		}
	}
	return topics, true
}

// subscribes returns a function that reports whether the group reads a topic. Consumers whose subscription is not known
// count as readers of everything.
func (m *machine) subscribes() func(id metadata.TopicID, name string) bool {
	topics, known := m.subscription()
	return func(_ metadata.TopicID, name string) bool {
		if known {
			return topics[name]
		}
		return m.protocolType == consumerProtocol
	}
}

// mayDeleteOffsets is why OffsetDelete is refused as a whole, or nil. Members whose subscription nobody can read keep all
// offsets.
func (m *machine) mayDeleteOffsets() *kerr.Error {
	switch {
	case m.state == dead:
		return kerr.GroupIDNotFound
	case m.state != empty && m.protocolType != consumerProtocol:
		return kerr.NonEmptyGroup
	}
	return nil
}

// forgets reports whether offsets of the group may expire at all in its present state.
func (m *machine) forgets() bool {
	switch m.state {
	case empty:
		return true
	case stable:
		_, known := m.subscription()
		return known
	}
	return false
}

// expired are the offsets that are to be forgotten (KIP-211): those of an empty group, retention after it became empty;
// those of a simple consumer, retention after their commit; those of topics that the members of a stable group do not
// read, likewise. An offset that was committed with a retention of its own goes by that alone. Offsets of topics without
// a name stay: they are being created or deleted.
func (m *machine) expired(offsets []metadata.Offset, name func(metadata.TopicID) string, retention time.Duration, now time.Time) []metadata.Offset {
	if !m.forgets() {
		return nil
	}
	var out []metadata.Offset
	subscribed := m.subscribes()
	for _, o := range offsets {
		from := o.CommittedAt
		if m.state == empty && m.protocolType != "" {
			from = m.since
		}
		due := from.Add(retention)
		if !o.ExpireAt.IsZero() {
			due = o.ExpireAt
		}
		if topic := name(o.TopicID); topic != "" && !subscribed(o.TopicID, topic) && !now.Before(due) {
			out = append(out, o)
		}
	}
	return out
}
