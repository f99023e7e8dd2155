package group

import (
	"maps"
	"slices"

	"varve/metadata"
)

// claimant is a member as assignors see it.
type claimant struct {
	topics []string // subscribed, existing, in order
	had    map[metadata.TopicPartition]bool
}

// topicSize is a topic as assignors see it.
type topicSize struct {
	id         metadata.TopicID
	partitions int32
}

// An assignor shares the partitions of topics among members that subscribe to them, the result being in the order of the
// members. It is a function of its arguments alone.
type assignor func(members []claimant, topics map[string]topicSize) []map[metadata.TopicPartition]bool

// assignors are the server-side ones, by the names that clients know.
var assignors = map[string]assignor{"uniform": uniform, "range": ranges}

func newTargets(n int) []map[metadata.TopicPartition]bool {
	out := make([]map[metadata.TopicPartition]bool, n)
	for i := range out {
		out[i] = map[metadata.TopicPartition]bool{}
	}
	return out
}

// uniform balances the number of partitions of each member, and moves as few as that needs. When all subscribe to the same
// topics nobody has more than one partition more than another.
func uniform(members []claimant, topics map[string]topicSize) []map[metadata.TopicPartition]bool {
	if len(members) == 0 {
		return nil
	}
	for _, c := range members[1:] {
		if !slices.Equal(c.topics, members[0].topics) {
			return uniformMixed(members, topics)
		}
	}
	total := 0
	for _, name := range members[0].topics {
		total += int(topics[name].partitions)
	}
	out, quota := newTargets(len(members)), quotas(members, topics, total)
	all, taken := partitionsOf(members[0].topics, topics), map[metadata.TopicPartition]bool{}
	for i, c := range members {
		for _, tp := range all {
			if c.had[tp] && !taken[tp] && len(out[i]) < quota[i] {
				out[i][tp], taken[tp] = true, true
			}
		}
	}
	free := slices.DeleteFunc(all, func(tp metadata.TopicPartition) bool { return taken[tp] })
	for i := range members {
		for len(out[i]) < quota[i] {
			out[i][free[0]] = true
			free = free[1:]
		}
	}
	return out
}

// quotas are the numbers of partitions that members get. Those left over when the total is divided go to members that had
// more than the others, then to the first ones.
func quotas(members []claimant, topics map[string]topicSize, total int) []int {
	least, extra := total/len(members), total%len(members)
	subscribed := map[metadata.TopicID]int32{}
	for _, name := range members[0].topics {
		subscribed[topics[name].id] = topics[name].partitions
	}
	quota := make([]int, len(members))
	for i, c := range members {
		quota[i] = least
		had := 0
		for tp := range c.had {
			if tp.Partition < subscribed[tp.TopicID] {
				had++
			}
		}
		if had > least && extra > 0 {
			quota[i]++
			extra--
		}
	}
	for i := range members {
		if extra > 0 && quota[i] == least {
			quota[i]++
			extra--
		}
	}
	return quota
}

func partitionsOf(names []string, topics map[string]topicSize) []metadata.TopicPartition {
	var out []metadata.TopicPartition
	for _, name := range names {
		for p := range topics[name].partitions {
			out = append(out, metadata.TopicPartition{TopicID: topics[name].id, Partition: p})
		}
	}
	return out
}

// subscribers are the members of each topic, by index.
func subscribers(members []claimant) map[string][]int {
	out := map[string][]int{}
	for i, c := range members {
		for _, name := range c.topics {
			out[name] = append(out[name], i)
		}
	}
	return out
}

// uniformMixed is uniform for members whose subscriptions differ: everybody keeps what it had, what is free goes to the
// subscriber with the fewest partitions, those with few possible takers first, and then partitions move from members with
// many to members with few, as long as that brings them closer.
func uniformMixed(members []claimant, topics map[string]topicSize) []map[metadata.TopicPartition]bool {
	out, by := newTargets(len(members)), subscribers(members)
	names := slices.Sorted(maps.Keys(by))
	slices.SortStableFunc(names, func(a, b string) int { return len(by[a]) - len(by[b]) })
	owner := map[metadata.TopicPartition]int{}
	for _, name := range names {
		for _, tp := range partitionsOf([]string{name}, topics) {
			for _, i := range by[name] {
				if _, taken := owner[tp]; members[i].had[tp] && !taken {
					owner[tp] = i
					out[i][tp] = true
				}
			}
		}
	}
	fewest := func(name string) int {
		return slices.MinFunc(by[name], func(a, b int) int { return len(out[a]) - len(out[b]) })
	}
	for _, name := range names {
		for _, tp := range partitionsOf([]string{name}, topics) {
			if _, taken := owner[tp]; !taken {
				i := fewest(name)
				owner[tp] = i
				out[i][tp] = true
			}
		}
	}
	for moved := true; moved; { // each move makes the sum of squares smaller: it ends
		moved = false
		for _, name := range names {
			for _, tp := range partitionsOf([]string{name}, topics) {
				from, to := owner[tp], fewest(name)
				if len(out[from])-len(out[to]) < 2 {
					continue
				}
				delete(out[from], tp)
				out[to][tp], owner[tp], moved = true, to, true
			}
		}
	}
	return out
}

// ranges gives each member a contiguous part of each topic, the first ones one partition more if it does not come out even.
// Members that had partitions keep the lowest of them, as many as they may. Topics with as many partitions and the same
// members are shared in the same way.
func ranges(members []claimant, topics map[string]topicSize) []map[metadata.TopicPartition]bool {
	out, by := newTargets(len(members)), subscribers(members)
	for _, name := range slices.Sorted(maps.Keys(by)) {
		t, sharers := topics[name], by[name]
		least, extra := int(t.partitions)/len(sharers), int(t.partitions)%len(sharers)
		taken := make([]bool, t.partitions)
		wants := make([]int, len(sharers))
		keep := func(i int, p int32) {
			out[i][metadata.TopicPartition{TopicID: t.id, Partition: p}], taken[p] = true, true
		}
		full := make([]bool, len(sharers)) // has its share and one more
		for n, i := range sharers {
			had := partitionsHad(members[i], t, taken)
			for _, p := range had[:min(len(had), least)] {
				keep(i, p)
			}
			wants[n] = max(least-len(had), 0)
			if len(had) > least && extra > 0 {
				keep(i, had[least])
				full[n] = true
				extra--
			}
		}
		next := int32(0)
		for n, i := range sharers {
			if !full[n] && extra > 0 {
				wants[n]++
				extra--
			}
			for ; wants[n] > 0; next++ {
				if !taken[next] {
					keep(i, next)
					wants[n]--
				}
			}
		}
	}
	return out
}

// partitionsHad are those of a topic that a member had and nobody has taken, in order.
func partitionsHad(c claimant, t topicSize, taken []bool) []int32 {
	var had []int32
	for p := range t.partitions {
		if c.had[metadata.TopicPartition{TopicID: t.id, Partition: p}] && !taken[p] {
			had = append(had, p)
		}
	}
	return had
}
