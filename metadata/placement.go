package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Place assigns replicas to partitions [from, from+partitions) as Kafka's StripedReplicaPlacer does: leaders go round
// the brokers, unfenced ones first; the replicas of one partition are on different racks as far as there are racks.
// It is deterministic: start chooses the broker of partition 0, so that topics do not all begin on the same one.
//
// INVALID_REPLICATION_FACTOR when replicas is not in [1, registered brokers] or no broker is live,
// INVALID_PARTITIONS when partitions < 1.
func Place(brokers map[BrokerID]*Broker, from, partitions int, replicas int, start int) ([][]BrokerID, error) {
	if partitions < 1 {
		return nil, fmt.Errorf("%w: %d partitions", kerr.InvalidPartitions, partitions)
	}
	if replicas < 1 || replicas > len(brokers) {
		return nil, fmt.Errorf("%w: %d replicas on %d registered brokers", kerr.InvalidReplicationFactor, replicas, len(brokers))
	}
	live, fenced := stripe(brokers, false), stripe(brokers, true)
	if len(live) == 0 {
		return nil, fmt.Errorf("%w: no broker is live", kerr.InvalidReplicationFactor)
	}
	out := make([][]BrokerID, 0, partitions)
	for p := from; p < from+partitions; p++ {
		out = append(out, placeOne(live, fenced, replicas, p+start))
	}
	return out, nil
}

// stripe lists the live (or the fenced) brokers so that neighbours are on different racks: first one of each rack,
// then the second of each, and so on.
func stripe(brokers map[BrokerID]*Broker, fenced bool) []*Broker {
	racks := map[string][]*Broker{}
	for _, b := range brokers {
		if (b.Fenced || b.InShutdown) == fenced {
			racks[b.Rack] = append(racks[b.Rack], b)
		}
	}
	names := make([]string, 0, len(racks))
	for name, members := range racks {
		slices.SortFunc(members, func(a, b *Broker) int { return cmp.Compare(a.ID, b.ID) })
		names = append(names, name)
	}
	slices.Sort(names)
	var out []*Broker
	for i := 0; ; i++ {
		before := len(out)
		for _, name := range names {
			if i < len(racks[name]) {
				out = append(out, racks[name][i])
			}
		}
		if len(out) == before {
			return out
		}
	}
}

// placeOne chooses the replicas of one partition. The leader is live[n]; when all brokers have led once, the distance
// of the followers grows, so that a broker's partitions do not all have the same follower.
func placeOne(live, fenced []*Broker, replicas, n int) []BrokerID {
	leader := n % len(live)
	shift := n / len(live)
	order := []*Broker{live[leader]}
	rest := slices.Concat(live[leader+1:], live[:leader])
	if len(rest) > 0 {
		k := shift % len(rest)
		rest = slices.Concat(rest[k:], rest[:k])
	}
	order = append(order, rest...)
	order = append(order, fenced...)
	return spread(order, replicas)
}

// spread takes replicas brokers in order, one of each rack before a second of any.
func spread(order []*Broker, replicas int) []BrokerID {
	var chosen []BrokerID
	onRack := map[string]int{}
	for round := 1; len(chosen) < replicas; round++ {
		for _, b := range order {
			if len(chosen) < replicas && !slices.Contains(chosen, b.ID) && onRack[b.Rack] < round {
				chosen = append(chosen, b.ID)
				onRack[b.Rack]++
			}
		}
	}
	return chosen
}
