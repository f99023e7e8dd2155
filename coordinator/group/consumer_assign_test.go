package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"varve/metadata"
)

// topicID is the id of a topic of one letter.
func topicID(name string) metadata.TopicID { return metadata.TopicID{15: name[0]} }

func partition(name string, p int32) metadata.TopicPartition {
	return metadata.TopicPartition{TopicID: topicID(name), Partition: p}
}

// parsePartitions reads "a0 a1 b0".
func parsePartitions(text string) map[metadata.TopicPartition]bool {
	out := map[metadata.TopicPartition]bool{}
	for _, w := range strings.Fields(text) {
		out[partition(w[:1], int32(w[1]-'0'))] = true
	}
	return out
}

func showPartitions[T any](set map[metadata.TopicPartition]T) string {
	var out []string
	for _, tp := range inOrder(set) {
		out = append(out, fmt.Sprintf("%c%d", tp.TopicID[15], tp.Partition))
	}
	return strings.Join(out, " ")
}

// TestAssignors has the examples of Kafka's documentation and tests: topics "a:3" with numbers of partitions; members
// "ab|a0 b1" with their topics and what they had.
func TestAssignors(t *testing.T) {
	for _, c := range []struct {
		assignor, topics string
		members, want    []string
	}{
		// Range: contiguous parts of each topic, the first members one more. Co-partitioned topics are shared in the same way.
		{"range", "a:3 b:3", []string{"ab|", "ab|"}, []string{"a0 a1 b0 b1", "a2 b2"}},
		{"range", "a:3 b:2", []string{"ab|", "ab|"}, []string{"a0 a1 b0", "a2 b1"}},
		{"range", "a:3 b:3 c:2", []string{"ab|", "c|", "bc|"}, []string{"a0 a1 a2 b0 b1", "c0", "b2 c1"}},
		{"range", "a:3 c:2", []string{"ac|", "ac|", "ac|", "ac|"}, []string{"a0 c0", "a1 c1", "a2", ""}},
		// A member joins: the others keep the lowest of what they had.
		{"range", "a:2 b:2", []string{"ab|a0 b0", "ab|a1 b1", "ab|"}, []string{"a0 b0", "a1 b1", ""}},
		{"range", "a:3 b:3", []string{"ab|a0 a1 b0 b1", "ab|a2 b2", "ab|"}, []string{"a0 b0", "a2 b2", "a1 b1"}},
		// Partitions are added: everybody keeps what it had.
		{"range", "a:4 b:3", []string{"ab|a0 a1 b0 b1", "ab|a2 b2"}, []string{"a0 a1 b0 b1", "a2 a3 b2"}},
		// A member leaves.
		{"range", "a:3 b:3", []string{"ab|a0 b0"}, []string{"a0 a1 a2 b0 b1 b2"}},
		{"range", "a:3 b:3 c:2", []string{"a|a0 a1 b0", "bc|b1 b2 c0"}, []string{"a0 a1 a2", "b0 b1 b2 c0 c1"}},
		// Uniform: the numbers of partitions differ by at most one.
		{"uniform", "a:3 c:2", []string{"ac|", "ac|"}, []string{"a0 a1 a2", "c0 c1"}},
		{"uniform", "a:2 c:2", []string{"ac|", "ac|", "ac|"}, []string{"a0 a1", "c0", "c1"}},
		{"uniform", "a:1", []string{"a|", "a|"}, []string{"a0", ""}},
		{"uniform", "a:3 b:3", []string{"ab|a0 a1 b0", "ab|a2 b1 b2", "ab|"}, []string{"a0 a1", "a2 b1", "b0 b2"}},
		{"uniform", "a:6 b:5", []string{"ab|a0 a2 b0", "ab|a1 a3 b1 b2"}, []string{"a0 a2 a4 a5 b0 b3", "a1 a3 b1 b2 b4"}},
		{"uniform", "a:3 b:3", []string{"ab|a0 a1 b0"}, []string{"a0 a1 a2 b0 b1 b2"}},
		{"uniform", "a:3 b:2", []string{"b|a0 a1 a2", "b|b0 b1"}, []string{"b1", "b0"}},
		// Uniform with different subscriptions.
		{"uniform", "a:3 b:3 c:2", []string{"ac|", "c|", "bc|"}, []string{"a0 a1 a2", "c0 c1", "b0 b1 b2"}},
		{"uniform", "a:3 b:4", []string{"ab|a0 a1 a2 b0", "b|b1 b2 b3"}, []string{"a0 a1 a2 b0", "b1 b2 b3"}},
		{"uniform", "a:2 b:6", []string{"a|", "ab|b0 b1 b2 b3 b4 b5"}, []string{"a0 a1", "b0 b1 b2 b3 b4 b5"}},
		{"uniform", "a:4", []string{"a|a0 a1 a2 a3", "|a0"}, []string{"a0 a1 a2 a3", ""}},
	} {
		sizes := map[string]topicSize{}
		for _, w := range strings.Fields(c.topics) {
			sizes[w[:1]] = topicSize{topicID(w[:1]), int32(w[2] - '0')}
		}
		var members []claimant
		for _, m := range c.members {
			topics, had, _ := strings.Cut(m, "|")
			members = append(members, claimant{topics: strings.Split(topics, ""), had: parsePartitions(had)})
		}
		var got []string
		for _, target := range assignors[c.assignor](members, sizes) {
			got = append(got, showPartitions(target))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s of %s to %q\ngot  %q\nwant %q", c.assignor, c.topics, c.members, got, c.want)
		}
	}
}

// TestAssignorsAlwaysShareEverything checks, for random groups, that every partition has one owner who subscribes to it,
// that uniform is balanced, and that asking again moves nothing.
func TestAssignorsAlwaysShareEverything(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		name, same := []string{"uniform", "range"}[r.IntN(2)], r.IntN(2) == 0
		sizes := map[string]topicSize{}
		for _, topic := range []string{"a", "b", "c", "d"}[:1+r.IntN(4)] {
			sizes[topic] = topicSize{topicID(topic), int32(r.IntN(9))}
		}
		members := make([]claimant, 1+r.IntN(6))
		for i := range members {
			members[i].had = map[metadata.TopicPartition]bool{}
			for topic, size := range sizes {
				if same || r.IntN(2) == 0 {
					members[i].topics = append(members[i].topics, topic)
				}
				for p := range size.partitions { // also what others had: no input may break it
					if r.IntN(4) == 0 {
						members[i].had[metadata.TopicPartition{TopicID: size.id, Partition: p}] = true
					}
				}
			}
			slices.Sort(members[i].topics)
		}
		out := assignors[name](members, sizes)
		if why := unfair(name, members, sizes, out); why != "" {
			t.Fatalf("seed %d: %s: %s\nmembers %+v\ntopics %v\nout %v", seed, name, why, members, sizes, out)
		}
		for i := range members {
			members[i].had = out[i]
		}
		for i, again := range assignors[name](members, sizes) {
			if showPartitions(again) != showPartitions(out[i]) {
				t.Fatalf("seed %d: %s moves partitions though nothing has changed: %v, then %v", seed, name, out[i], again)
			}
		}
	}
}

func unfair(name string, members []claimant, sizes map[string]topicSize, out []map[metadata.TopicPartition]bool) string {
	owners, by := map[metadata.TopicPartition]int{}, subscribers(members)
	for i, target := range out {
		for tp := range target {
			if other, twice := owners[tp]; twice {
				return fmt.Sprintf("%v goes to %d and %d", tp, other, i)
			}
			owners[tp] = i
		}
	}
	for topic, sharers := range by {
		for p := range sizes[topic].partitions {
			i, owned := owners[metadata.TopicPartition{TopicID: sizes[topic].id, Partition: p}]
			if !owned || !slices.Contains(sharers, i) {
				return fmt.Sprintf("%s-%d goes to nobody, or to one who does not subscribe", topic, p)
			}
			delete(owners, metadata.TopicPartition{TopicID: sizes[topic].id, Partition: p})
			for _, j := range sharers {
				if name == "uniform" && len(out[i])-len(out[j]) > 1 {
					return fmt.Sprintf("%d has %d partitions, %d has %d", i, len(out[i]), j, len(out[j]))
				}
			}
		}
	}
	if len(owners) > 0 {
		return fmt.Sprintf("partitions nobody subscribes to: %v", owners)
	}
	return ""
}
