package metadata

import (
	"time"

	"github.com/google/uuid"
)

// NewTopic is a topic to create, checked already: the name is valid, the counts are set, the configs parse.
type NewTopic struct {
	Name string
	// Assignment[p] lists the replicas of partition p, preferred leader first.
	Assignment [][]BrokerID
	Configs    map[string]string
}

// TopicRef names a topic by name or, when Name is empty, by id.
type TopicRef struct {
	Name string
	ID   TopicID
}

// ConfigResource is what a configuration belongs to: a topic by name, or a broker (NoBroker: the cluster default).
type ConfigResource struct {
	Topic  string // empty for a broker resource
	Broker BrokerID
}

// ConfigEdit sets (Value) or removes (Value nil) one configuration key.
type ConfigEdit struct {
	Name  string
	Value *string
}

// Registration is what a broker tells when it joins the cluster.
type Registration struct {
	ID          BrokerID
	Incarnation uuid.UUID // new for every process
	Host        string
	Port        int32
	Rack        string
	Dirs        []DirID
	// Rejoin: this process was registered already and lost its epoch. It must not push out a live successor.
	Rejoin bool
}

// Suspicion is what a live broker has found out about another one: that its process is gone, or that it says nothing.
type Suspicion struct {
	By      BrokerID
	ByEpoch BrokerEpoch
	Suspect BrokerID
	Epoch   BrokerEpoch // of the suspect
	// Unheard, if not zero, is for how long the suspect must not have sent a heartbeat either: silence towards one broker alone proves nothing.
	Unheard time.Duration
}

// ElectionType is the kind of leader election that ElectLeaders asks for.
type ElectionType int8

const (
	ElectPreferred ElectionType = 0
	ElectUnclean   ElectionType = 1
)

// DirAssignment says in which log directory a broker keeps its replica of a partition.
type DirAssignment struct {
	TopicPartition
	Dir DirID
}

// ISRChange is what a leader wants the in-sync set of its partition to become. The write is fenced by both epochs.
type ISRChange struct {
	TopicPartition
	LeaderEpoch    int32
	PartitionEpoch int32
	ISR            []ISRMember
}

// ISRMember is a replica with the registration in which the leader saw it catch up; epoch -1: not known.
type ISRMember struct {
	ID    BrokerID
	Epoch BrokerEpoch
}

// ISROutcome is the partition as it is now, or why nothing was changed (a *kerr.Error, wrapped).
type ISROutcome struct {
	Partition *Partition
	Err       error
}

// CreatedTopic is the outcome of creating one topic: its id, or why it was not created (a *kerr.Error, wrapped).
type CreatedTopic struct {
	ID  TopicID
	Err error
}
