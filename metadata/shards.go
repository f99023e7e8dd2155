package metadata

import "slices"

// AssignShards returns the owners of the coordinator shards: owners that live keep what they have, the others' shards
// go to the live broker with the fewest, and then shards move one by one until no two live brokers differ by more than
// one. With no live broker nothing changes. An entry whose owner changes has its epoch incremented.
func AssignShards(shards []Shard, live []BrokerID) []Shard {
	if len(live) == 0 {
		return shards
	}
	live = slices.Sorted(slices.Values(live))
	next := slices.Clone(shards)
	load := map[BrokerID]int{}
	for _, s := range next {
		load[s.Owner]++
	}
	for i := range next {
		if !slices.Contains(live, next[i].Owner) {
			give(next, i, least(live, load), load)
		}
	}
	for {
		poor, rich := least(live, load), most(live, load)
		if load[rich]-load[poor] <= 1 {
			return next
		}
		give(next, slices.IndexFunc(next, func(s Shard) bool { return s.Owner == rich }), poor, load)
	}
}

func give(shards []Shard, i int, to BrokerID, load map[BrokerID]int) {
	load[shards[i].Owner]--
	load[to]++
	shards[i] = Shard{Owner: to, Epoch: shards[i].Epoch + 1}
}

func least(ids []BrokerID, load map[BrokerID]int) BrokerID {
	return slices.MinFunc(ids, func(a, b BrokerID) int { return load[a] - load[b] })
}

func most(ids []BrokerID, load map[BrokerID]int) BrokerID {
	return slices.MaxFunc(ids, func(a, b BrokerID) int { return load[a] - load[b] })
}
