package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

func (m *consumer) mayDeleteOffsets() *kerr.Error {
	if m.dead {
		return kerr.GroupIDNotFound
	}
	return nil
}

func (m *consumer) subscribes() func(id metadata.TopicID, name string) bool {
	topics := m.subscribed()
	return func(id metadata.TopicID, _ string) bool {
		_, ok := topics[id]
		return ok
	}
}

func (m *consumer) forgets() bool { return !m.dead }

// expired are the offsets of topics that nobody reads, retention after their commit: no matter how long the group has
// been empty. An offset with a retention of its own goes by that.
func (m *consumer) expired(offsets []metadata.Offset, name func(metadata.TopicID) string, retention time.Duration, now time.Time) []metadata.Offset {
	if m.dead {
		return nil
	}
	var out []metadata.Offset
	subscribed := m.subscribes()
	for _, o := range offsets {
		due := o.CommittedAt.Add(retention)
		if !o.ExpireAt.IsZero() {
			due = o.ExpireAt
		}
		if topic := name(o.TopicID); topic != "" && !subscribed(o.TopicID, topic) && !now.Before(due) {
			out = append(out, o)
		}
	}
	return out
}
