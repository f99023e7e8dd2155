package metadata

import (
	"github.com/google/uuid"
)

// Image is one consistent state of the cluster's metadata: everything that Postgres held at one Version.
// It is immutable: readers keep it as long as they like and never lock. A Publisher swaps in the next one.
type Image struct {
	// Version is meta_version at the snapshot: it grows with every metadata transaction and never goes back.
	Version    int64
	ClusterID  uuid.UUID
	Controller BrokerID // holder of the controller lease, NoBroker when none
	Brokers    map[BrokerID]*Broker
	Topics     map[TopicID]*Topic
	ByName     map[string]*Topic
	// BrokerConfigs holds the dynamic broker configurations: NoBroker's entry is the cluster-wide default.
	BrokerConfigs map[BrokerID]map[string]string
	// GroupShards[i] is the owner of coordinator shard i (see Shard in package coordinator).
	GroupShards []Shard
}

// Broker is one registered broker.
type Broker struct {
	ID         BrokerID
	Epoch      BrokerEpoch
	Host       string
	Port       int32
	Rack       string // empty: none
	Dirs       []DirID
	Fenced     bool
	InShutdown bool
}

// Topic is one topic with its partitions, index i being partition i, and the configuration overrides set on it.
type Topic struct {
	ID         TopicID
	Name       string
	Partitions []*Partition
	Configs    map[string]string // only overrides; see internal/config for defaults
}

// Partition is the state of one partition as Postgres holds it. All of it but LogStartOffset is fenced by
// PartitionEpoch; LeaderEpoch grows when the leader changes.
type Partition struct {
	TopicPartition
	Leader         BrokerID
	LeaderEpoch    int32
	PartitionEpoch int32
	Replicas       []BrokerID
	ISR            []BrokerID
	ELR            []BrokerID // eligible leader replicas: not in the ISR, and have all that was committed (KIP-966)
	LastKnownELR   []BrokerID // the last leader, when ISR and ELR have nobody who can lead
	Adding         []BrokerID // members of Replicas that a reassignment adds
	Removing       []BrokerID // members of Replicas that it removes when those that stay are in sync
	Dirs           []DirID    // Dirs[i] is where Replicas[i] keeps its log; uuid.Nil: not assigned yet
	Recovery       Recovery
	// LogStartOffset is the first offset that exists in either tier. It is raised here before anything is deleted.
	LogStartOffset int64
}

// Shard is the ownership of one coordinator shard.
type Shard struct {
	Owner BrokerID
	Epoch int32
}

// Partition returns partition p of topic id, or nil.
func (im *Image) Partition(tp TopicPartition) *Partition {
	t := im.Topics[tp.TopicID]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[tp.Partition]
}

// ReplicaOffline reports whether replica i of p cannot be reached or read: its broker is gone or fenced, or the log directory that held it
// is not among those that the broker has.
func (im *Image) ReplicaOffline(p *Partition, i int) bool {
	b := im.Brokers[p.Replicas[i]]
	return b == nil || b.Fenced || !dirOnline(p.Dirs[i], b)
}

// Live reports whether broker id is registered, unfenced and not shutting down.
func (im *Image) Live(id BrokerID) bool {
	b := im.Brokers[id]
	return b != nil && !b.Fenced && !b.InShutdown
}
