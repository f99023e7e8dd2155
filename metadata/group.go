package metadata

import "time"

// GroupShards is the number of coordinator shards, as Kafka's offsets.topic.num.partitions.
const GroupShards = 50

// GroupState is what a classic group's coordinator persists when a generation is stable or the group becomes
// empty: enough for another coordinator to go on without a rebalance.
type GroupState struct {
	GroupID      string
	Shard        int32
	Generation   int32
	ProtocolType string // "consumer", "connect", ...; empty for a group that only commits offsets
	Protocol     string // chosen assignor, empty when the group is empty
	Leader       string // member id
	Members      []GroupMember
	StateSince   time.Time
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
