// Package postgres keeps the cluster's metadata in Postgres. It is the only room that knows SQL.
//
// Postgres is the only authority for who may decide: every write carries an epoch (of the controller, the broker, the
// leader or the shard) in its WHERE clause, and all clocks are Postgres's. Transactions are READ COMMITTED with
// explicit row locks in one order: controller_epoch, broker (by id), topic, partition (topic id, partition),
// coordinator_shard, group rows, meta_version last. A transaction that changes what an Image shows increments
// meta_version as its last statement and notifies with the number alone; offsets and leases do not.
//
// Nothing waits long: connecting, locks and statements have timeouts, so that a paused broker holds no lock and a
// broker without Postgres learns so at once. Serialization failures, deadlocks and lock timeouts are retried here;
// nothing else is, least of all a connection lost during COMMIT, whose outcome is unknown. When Postgres cannot be
// reached a method returns an UnavailableError, which is also the retriable Kafka error of its operation.
//
// Lease renewals have a connection of their own: they never queue behind work.
package postgres
