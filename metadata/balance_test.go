package metadata

import (
	"testing"

	"github.com/google/uuid"
)

// image has one topic with ps as its partitions.
func image(brokers map[BrokerID]*Broker, shards []Shard, ps ...*Partition) *Image {
	t := &Topic{ID: uuid.UUID{7}, Name: "t", Partitions: ps}
	for i, p := range ps {
		p.TopicPartition = TopicPartition{TopicID: t.ID, Partition: int32(i)}
	}
	return &Image{Brokers: brokers, GroupShards: shards, Topics: map[TopicID]*Topic{t.ID: t}}
}

func TestImbalanced(t *testing.T) {
	many := func(n int, p func() *Partition) []*Partition {
		var out []*Partition
		for range n {
			out = append(out, p())
		}
		return out
	}
	well := func() *Partition { return part(ids{1, 2}, ids{1, 2}, 1) }
	moved := func() *Partition { return part(ids{1, 2}, ids{1, 2}, 2) }
	behind := func() *Partition { return part(ids{1, 2}, ids{2}, 2) }
	lost := func() *Partition { return part(ids{1, 2}, ids{1, 2}, 2, 1) }
	reassigned := func() *Partition { p := moved(); p.Adding = ids{2}; return p }
	others := func() *Partition { return part(ids{2, 1}, ids{1, 2}, 2) }
	for _, c := range []struct {
		name    string
		brokers string
		ps      []*Partition
		want    int
	}{
		{"balanced", "live live", many(10, well), 0},
		{"one of ten is allowed", "live live", append(many(9, well), moved()), 0},
		{"one of nine is not", "live live", append(many(8, well), moved()), 1},
		{"what others lead does not count", "live live", append(append(many(8, well), moved()), many(50, others)...), 1},
		{"the preferred one is fenced", "fenced live", many(3, moved), 0},
		{"it shuts down", "shutdown live", many(3, moved), 0},
		{"it is out of sync: counted, not moved", "live live", append(many(9, well), behind(), moved()), 1},
		{"its disk is lost", "live live", many(3, lost), 0},
		{"a reassignment", "live live", many(3, reassigned), 0},
		{"at most as many as asked for", "live live", many(30, moved), 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Imbalanced(image(cluster(c.brokers), nil, c.ps...), 10, 20)
			if len(got) != c.want {
				t.Errorf("%d, want %d: %v", len(got), c.want, got)
			}
			for i, tp := range got {
				if c.ps[tp.Partition].Leader != 2 || i > 0 && got[i-1].Partition >= tp.Partition {
					t.Errorf("%v", got)
				}
			}
		})
	}
}

func TestNeedsController(t *testing.T) {
	two := []Shard{{Owner: 1}, {Owner: 2}}
	for _, c := range []struct {
		name    string
		brokers string
		shards  []Shard
		p       *Partition
		want    bool
	}{
		{"all is well", "live live", two, part(ids{1, 2}, ids{1, 2}, 1), false},
		{"a shard of a dead broker", "live live fenced", []Shard{{Owner: 1}, {Owner: 3}}, part(ids{1, 2}, ids{1, 2}, 1), true},
		{"one broker has all shards", "live live", []Shard{{Owner: 1}, {Owner: 1}}, part(ids{1, 2}, ids{1, 2}, 1), true},
		{"a dead leader", "live live fenced", two, part(ids{3}, ids{3}, 3), true},
		{"no leader, and nobody alive", "live live fenced", two, part(ids{3}, ids{3}, NoBroker), false},
		{"no leader, and one alive", "live live fenced", two, part(ids{3, 1}, ids{3}, NoBroker), true},
		{"a leader that shuts down", "live live shutdown", two, part(ids{3}, ids{3}, 3), false},
		{"nobody is alive", "fenced fenced", two, part(ids{1, 2}, ids{1, 2}, 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := NeedsController(image(cluster(c.brokers), c.shards, c.p)); got != c.want {
				t.Error(got)
			}
		})
	}
}
