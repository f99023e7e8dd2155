// Package group coordinates consumer groups of both protocols, the classic one and that of KIP-848: membership,
// generations or epochs, assignments and committed offsets.
//
// # Layout
//
//	machine.go    the pure state machine of one group: state, events, effects, Step
//	join.go       JoinGroup: who may join, static members
//	rebalance.go  how a rebalance begins and ends, timers that expire
//	sync.go       SyncGroup, Heartbeat, the result of persisting
//	leave.go      LeaveGroup and removal of members
//	restore.go    what is persisted, what a new coordinator makes of it
//	consumer_machine.go    the pure state machine of one group of the consumer protocol (KIP-848)
//	consumer_beat.go       heartbeats: joining, leaving, static members, epochs
//	consumer_subscribe.go  subscriptions, patterns, topics that come and go
//	consumer_reconcile.go  target assignments, and how members get there step by step
//	consumer_assign.go     the assignors uniform and range
//	consumer_restore.go    what is persisted, what a new coordinator makes of it
//	consumer_api.go        ConsumerGroupHeartbeat and ConsumerGroupDescribe
//	kind.go       what both kinds of group have in common, and how an empty group changes its kind
//	shard.go      one goroutine per shard: mailbox, machines, timers, ownership
//	writer.go     a shard's writes to Postgres, one at a time and in order; offset commits are batched
//	clock.go      the time of the machines, which stands still while Postgres is away
//	retain.go     which offsets may be deleted, and which expire (pure)
//	trim.go       OffsetDelete, and how offsets leave Postgres
//	expire.go     offsets and empty groups that are forgotten after offsets.retention.minutes
//	coordinator.go, offsets.go, admin.go   the Kafka requests
//
// # Invariants
//
//   - A machine does no I/O, reads no clock and starts no goroutine: Step(event, now) returns effects.
//   - A reply that promises something durable (an assignment, a replaced static member, a committed offset, a deleted
//     group) leaves after the transaction of its effect committed, fenced by the shard's owner epoch.
//   - Membership and heartbeats live in memory. A generation is persisted when its leader's assignment arrives, and
//     when the group becomes empty. A new coordinator restores the last persisted generation as stable, and gives every
//     member a full session: members that went on as if nothing had happened need no rebalance.
//   - A consumer group is persisted as a whole whenever an epoch, a target or an assignment has changed, before the answer
//     that shows it. No partition is ever assigned to, or being revoked by, two of its members.
//   - Writes of a shard happen one at a time, in the order in which the shard decided them: an offset commit accepted
//     before the deletion of its group cannot bring the group back.
//   - While Postgres is away nobody's session expires, no rebalance begins, and heartbeats are answered; what needs a
//     write fails with COORDINATOR_NOT_AVAILABLE, offset commits after offsets.commit.timeout.ms.
//
// # Ownership
//
// A shard's goroutine owns its machines; everybody else sends to its mailbox. Coordinator.Apply tells the shards who
// owns them; Close ends and waits for all goroutines. Every request method may block until its answer is known or its
// context ends, and may be called concurrently.
package group
