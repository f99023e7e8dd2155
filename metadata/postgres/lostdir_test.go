package postgres_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"varve/internal/testpg"
	"varve/metadata"
)

// A directory that fails under a running broker takes its replicas' leaderships and places in the ISR with it, and nothing of the other directory; the
// registration is the same.
func TestLostDirectoryOfARunningBroker(t *testing.T) {
	url := testpg.URL(t)
	b := newBroker(1)
	b.Dirs = append(b.Dirs, uuid.New())
	m := startMember(t, url, b.Registration)
	newBroker(2).join(t, m.store)
	id := topic(t, m.store, "flights", ids{1, 2}, ids{1, 2})
	for p, dir := range b.Dirs {
		if err := assignDir(t, m.store, metadata.TopicPartition{TopicID: id, Partition: int32(p)}, 1, dir); err != nil {
			t.Fatal(err)
		}
	}
	epoch := m.node.Epoch()
	m.node.LoseDir(b.Dirs[0])
	m.eventually(t, "another leader", func(im *metadata.Image) bool {
		ps := im.Topics[id]
		return ps != nil && ps.Partitions[0].Leader == 2 && slices.Equal(ps.Partitions[0].ISR, ids{2})
	})
	im := snapshot(t, m.store)
	if p := im.Topics[id].Partitions[1]; p.Leader != 1 || len(p.ISR) != 2 {
		t.Errorf("the partition in the other directory: %+v", p)
	}
	if got := im.Brokers[1]; got.Epoch != epoch || got.Fenced || !slices.Equal(got.Dirs, b.Dirs[1:]) {
		t.Errorf("%+v", got)
	}
}
