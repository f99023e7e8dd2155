package metadata

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// A Delta is what a Source found to be different from an earlier image: the rows as they are now.
type Delta struct {
	Topics     []*Topic     // new, or with other configurations; their Partitions are ignored
	Partitions []*Partition // new or changed; those of one topic in ascending order
	Gone       []TopicID    // topics that exist no longer
}

// Derive sets im.Topics and im.ByName to those of prev with d applied. Whatever is the same after all is shared with
// prev, down to the maps when no topic differs. It takes the time of copying the partition lists of the topics that
// differ, and the maps. An error says that d does not fit prev; im is of no use then.
func (im *Image) Derive(prev *Image, d Delta) error {
	edits := edits{prev: prev, topics: map[TopicID]*Topic{}}
	for _, t := range d.Topics {
		edits.topic(t)
	}
	for _, p := range d.Partitions {
		if err := edits.partition(p); err != nil {
			return err
		}
	}
	im.Topics, im.ByName = prev.Topics, prev.ByName
	if len(edits.topics) == 0 && len(d.Gone) == 0 && im.Topics != nil {
		return nil
	}
	im.Topics, im.ByName = cloneMap(prev.Topics, len(edits.topics)), cloneMap(prev.ByName, len(edits.topics))
	for _, id := range d.Gone {
		if t := im.Topics[id]; t != nil {
			delete(im.Topics, id)
			delete(im.ByName, t.Name)
		}
	}
	for id, t := range edits.topics { // after Gone: a new topic may have the name of one that is gone
		im.Topics[id], im.ByName[t.Name] = t, t
	}
	return nil
}

// cloneMap is maps.Clone, never nil, for a map that more entries will follow in.
func cloneMap[K comparable, V any](m map[K]V, more int) map[K]V {
	if len(m) == 0 {
		return make(map[K]V, more)
	}
	return maps.Clone(m)
}

// edits are the topics that a Delta changes: copies of those of prev, and new ones.
type edits struct {
	prev   *Image
	topics map[TopicID]*Topic
}

func (e edits) topic(t *Topic) {
	old := e.prev.Topics[t.ID]
	if old != nil && old.Name == t.Name && maps.Equal(old.Configs, t.Configs) {
		return
	}
	next := *t
	next.Partitions = nil
	if old != nil {
		next.Partitions = slices.Clone(old.Partitions)
	}
	e.topics[t.ID] = &next
}

func (e edits) partition(p *Partition) error {
	i := int(p.TopicPartition.Partition)
	t := e.topics[p.TopicID]
	if t == nil {
		old := e.prev.Topics[p.TopicID]
		if old == nil {
			return fmt.Errorf("partition %d of topic %s, which is not there", i, p.TopicID)
		}
		if i < len(old.Partitions) && old.Partitions[i].equal(p) {
			return nil
		}
		next := *old
		next.Partitions = slices.Clone(old.Partitions)
		t = &next
		e.topics[p.TopicID] = t
	}
	switch n := len(t.Partitions); {
	case i > n:
		return fmt.Errorf("topic %s (%s) has partition %d where %d should be", t.Name, t.ID, i, n)
	case i == n:
		t.Partitions = append(t.Partitions, p)
	case !t.Partitions[i].equal(p):
		t.Partitions[i] = p
	}
	return nil
}

// share replaces the topics and partitions of im, which nobody has seen yet, by those of prev that are equal.
func (im *Image) share(prev *Image) {
	for id, t := range im.Topics {
		old := prev.Topics[id]
		if old == nil {
			continue
		}
		same := old.Name == t.Name && maps.Equal(old.Configs, t.Configs) && len(old.Partitions) == len(t.Partitions)
		for i, p := range t.Partitions {
			if i < len(old.Partitions) && old.Partitions[i].equal(p) {
				t.Partitions[i] = old.Partitions[i]
			} else {
				same = false
			}
		}
		if same {
			im.Topics[id], im.ByName[t.Name] = old, old
		}
	}
}

// same reports whether im shows nothing else than prev, with which it shares what is equal.
func (im *Image) same(prev *Image) bool {
	return im.Controller == prev.Controller && maps.Equal(im.Topics, prev.Topics) &&
		slices.Equal(im.GroupShards, prev.GroupShards) &&
		reflect.DeepEqual(im.Brokers, prev.Brokers) && reflect.DeepEqual(im.BrokerConfigs, prev.BrokerConfigs)
}

func (p *Partition) equal(q *Partition) bool {
	return p.TopicPartition == q.TopicPartition &&
		p.Leader == q.Leader && p.LeaderEpoch == q.LeaderEpoch && p.PartitionEpoch == q.PartitionEpoch &&
		slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.ISR, q.ISR) &&
		slices.Equal(p.ELR, q.ELR) && slices.Equal(p.LastKnownELR, q.LastKnownELR) &&
		slices.Equal(p.Adding, q.Adding) && slices.Equal(p.Removing, q.Removing) &&
		slices.Equal(p.Dirs, q.Dirs) && p.Recovery == q.Recovery && p.LogStartOffset == q.LogStartOffset
}
