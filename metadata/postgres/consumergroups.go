package postgres

import (
	"encoding/json"
	"slices"
	"time"

	"varve/metadata"
)

// consumerRecord is a consumer group as stored: strings that clients choose as bytes, and partitions by topic, which
// keeps the row small.
type consumerRecord struct {
	AssignmentEpoch int32
	Topics          map[metadata.TopicID]int32
	Members         []consumerMemberRecord
}

type consumerMemberRecord struct {
	MemberID, ClientID, ClientHost, Regex, Assignor []byte
	InstanceID, RackID                              *[]byte `json:",omitempty"`
	RebalanceTimeout                                time.Duration
	Topics                                          [][]byte
	Epoch, PreviousEpoch                            int32
	State                                           int8
	Assigned, Revoking                              map[metadata.TopicID][][2]int32 // partition, epoch
	Target                                          map[metadata.TopicID][]int32
}

// encodeConsumerGroup returns no bytes for a classic group.
func encodeConsumerGroup(g *metadata.ConsumerGroup) ([]byte, error) {
	if g == nil {
		return []byte{}, nil
	}
	r := consumerRecord{AssignmentEpoch: g.AssignmentEpoch, Topics: g.Topics}
	for _, m := range g.Members {
		mr := consumerMemberRecord{MemberID: []byte(m.MemberID), ClientID: []byte(m.ClientID), ClientHost: []byte(m.ClientHost),
			Regex: []byte(m.Regex), Assignor: []byte(m.Assignor), InstanceID: optionalBytes(m.InstanceID), RackID: optionalBytes(m.RackID),
			RebalanceTimeout: m.RebalanceTimeout, Epoch: m.Epoch, PreviousEpoch: m.PreviousEpoch, State: m.State,
			Assigned: byTopic(m.Assigned), Revoking: byTopic(m.Revoking), Target: map[metadata.TopicID][]int32{}}
		for _, name := range m.Topics {
			mr.Topics = append(mr.Topics, []byte(name))
		}
		for _, tp := range m.Target {
			mr.Target[tp.TopicID] = append(mr.Target[tp.TopicID], tp.Partition)
		}
		r.Members = append(r.Members, mr)
	}
	return json.Marshal(r)
}

func decodeConsumerGroup(data []byte) (*metadata.ConsumerGroup, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var r consumerRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	g := &metadata.ConsumerGroup{AssignmentEpoch: r.AssignmentEpoch, Topics: r.Topics}
	for _, mr := range r.Members {
		m := metadata.ConsumerMember{MemberID: string(mr.MemberID), ClientID: string(mr.ClientID), ClientHost: string(mr.ClientHost),
			Regex: string(mr.Regex), Assignor: string(mr.Assignor), InstanceID: optionalString(mr.InstanceID), RackID: optionalString(mr.RackID),
			RebalanceTimeout: mr.RebalanceTimeout, Epoch: mr.Epoch, PreviousEpoch: mr.PreviousEpoch, State: mr.State,
			Assigned: flat(mr.Assigned), Revoking: flat(mr.Revoking)}
		for _, name := range mr.Topics {
			m.Topics = append(m.Topics, string(name))
		}
		for topic, partitions := range mr.Target {
			for _, p := range partitions {
				m.Target = append(m.Target, metadata.TopicPartition{TopicID: topic, Partition: p})
			}
		}
		g.Members = append(g.Members, m)
	}
	return g, nil
}

func byTopic(epochs map[metadata.TopicPartition]int32) map[metadata.TopicID][][2]int32 {
	out := map[metadata.TopicID][][2]int32{}
	for tp, epoch := range epochs {
		out[tp.TopicID] = append(out[tp.TopicID], [2]int32{tp.Partition, epoch})
	}
	for _, pairs := range out {
		slices.SortFunc(pairs, func(a, b [2]int32) int { return int(a[0]) - int(b[0]) })
	}
	return out
}

func flat(topics map[metadata.TopicID][][2]int32) map[metadata.TopicPartition]int32 {
	out := map[metadata.TopicPartition]int32{}
	for topic, pairs := range topics {
		for _, pair := range pairs {
			out[metadata.TopicPartition{TopicID: topic, Partition: pair[0]}] = pair[1]
		}
	}
	return out
}

func optionalBytes(s *string) *[]byte {
	if s == nil {
		return nil
	}
	return new([]byte(*s))
}

func optionalString(b *[]byte) *string {
	if b == nil {
		return nil
	}
	return new(string(*b))
}
