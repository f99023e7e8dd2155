package metadata

import "slices"

// NeedsController reports whether the controller may have something to do that an image shows: a coordinator shard
// without a live owner, or a partition without a leader that can lead. What only time brings, such as the end of a
// broker's session, is not in an image.
func NeedsController(im *Image) bool {
	var live []BrokerID
	for id := range im.Brokers {
		if im.Live(id) {
			live = append(live, id)
		}
	}
	if len(live) == 0 {
		return false
	}
	if !slices.Equal(AssignShards(im.GroupShards, live), im.GroupShards) {
		return true
	}
	for _, t := range im.Topics {
		if slices.ContainsFunc(t.Partitions, func(p *Partition) bool { return needsLeader(p, im) }) {
			return true
		}
	}
	return false
}

// needsLeader reports whether an election, clean or not, could change who leads p.
func needsLeader(p *Partition, im *Image) bool {
	return !im.Live(p.Leader) && !leadsToTheEnd(p, im.Brokers) &&
		(p.Leader != NoBroker || slices.ContainsFunc(p.Replicas, im.Live))
}
