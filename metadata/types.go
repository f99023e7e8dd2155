package metadata

import (
	"fmt"

	"github.com/google/uuid"
)

// BrokerID is Kafka's node id: unique in a cluster, >= 0. NoBroker (-1) stands for "none", as in a
// partition without a leader.
type BrokerID int32

// NoBroker is the leader of a partition that has none.
const NoBroker BrokerID = -1

// BrokerEpoch numbers the registrations of one broker; a newer registration fences every older one.
type BrokerEpoch int64

// TopicID is the immutable identity of a topic: a topic deleted and created again under the same name has another id.
type TopicID = uuid.UUID

// DirID is the identity of one log directory (directory.id in meta.properties). A new disk has a new one.
type DirID = uuid.UUID

// TopicPartition names one partition by the topic's immutable id and the partition's index.
type TopicPartition struct {
	TopicID   TopicID
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.TopicID, tp.Partition) }

// Recovery says whether a leader was elected uncleanly and must first rebuild its log from the bucket.
type Recovery int16

const (
	// Recovered is the ordinary state: the leader's log is what it is.
	Recovered Recovery = 0
	// Recovering is set by an unclean election: the new leader rebuilds what the bucket holds, then sets Recovered.
	Recovering Recovery = 1
)
