// Package coordinator holds what the group and the transaction coordinator share: how a key finds its shard.
//
// A group id or transactional id belongs to one of metadata.GroupShards shards, by Java's String.hashCode as in Kafka,
// so that tools that compute the partition of __consumer_offsets compute our shard. The controller gives each shard
// to one broker in Postgres, with an owner epoch that grows when the owner changes; the image shows it. Every write of
// an owner carries that epoch, so an owner that does not know yet that it lost a shard cannot change it.
//
// The machines and their shells are in coordinator/group.
package coordinator
