package metadata

import "time"

// GroupShards is the number of coordinator shards, as Kafka's offsets.topic.num.partitions.
const GroupShards = 50

// GroupState is what a group's coordinator persists: of a classic group when a generation is stable or the group becomes
// empty, of a consumer group with every step. It is enough for another coordinator to go on without a rebalance.
type GroupState struct {
	GroupID      string
	Shard        int32
	Generation   int32
	ProtocolType string // "consumer", "connect", ...; empty for a group that only commits offsets
	Protocol     string // chosen assignor, empty when the group is empty
	Leader       string // member id
	Members      []GroupMember
	StateSince   time.Time
	Consumer     *ConsumerGroup // of a group of the newer protocol, whose Generation is its epoch; nil: classic
}

// GroupMember is one member of a persisted generation. Metadata and Assignment are opaque to the broker.
type GroupMember struct {
	MemberID         string
	InstanceID       *string
	ClientID         string
	ClientHost       string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	Metadata         []byte // of the chosen protocol
	Assignment       []byte
}

// ConsumerGroup is the state of a group of the consumer protocol (KIP-848).
type ConsumerGroup struct {
	AssignmentEpoch int32             // the group epoch that the members' targets are for
	Topics          map[TopicID]int32 // the subscribed topics and their numbers of partitions at the group epoch
	Members         []ConsumerMember
}

// ConsumerMember is one member of a consumer group. Assigned and Revoking hold, for each partition, the member epoch at
// which it was assigned; they never overlap, nor do those of two members.
type ConsumerMember struct {
	MemberID         string
	InstanceID       *string
	RackID           *string
	ClientID         string
	ClientHost       string
	RebalanceTimeout time.Duration
	Topics           []string // subscribed by name
	Regex            string   // subscribed by pattern; empty: none
	Assignor         string   // preferred; empty: none
	Epoch            int32
	PreviousEpoch    int32
	State            int8
	Assigned         map[TopicPartition]int32
	Revoking         map[TopicPartition]int32
	Target           []TopicPartition
}

// Offset is one committed offset of a group.
type Offset struct {
	TopicPartition
	Offset      int64
	LeaderEpoch int32 // -1: unknown
	Metadata    string
	CommittedAt time.Time
	ExpireAt    time.Time // zero: the group's retention decides
}

// OffsetCommit is one offset on its way into Postgres. A later commit of the same key wins.
type OffsetCommit struct {
	GroupID string
	Offset
	Retention time.Duration // of this offset alone, from its commit on (OffsetCommit v2 to v4); zero: none
}
