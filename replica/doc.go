// Package replica holds the partitions of which this broker is a replica: leadership, in-sync replicas, high watermark.
//
// A [Manager] follows the metadata image. For every partition that names this broker as a replica it opens the log, and leads when the image
// says so. Slow work (recovering a log, Postgres, the bucket) runs on goroutines of the manager, one at a time per partition, so that one
// partition never holds back another.
//
// The high watermark is the least durable end offset over the in-sync replicas. Follower replication is not built: while
// anybody but this broker is in the ISR, the high watermark stands still, because nothing may be acknowledged that a follower might lack.
//
// Invariants:
//
//  1. A partition leads only after Postgres knows the directory of its log: a log that is lost can then never be mistaken for one
//     that is new. A log that should be here and is not makes the partition fail, never start empty.
//  2. A leader that rebuilds after an unclean election leads only after Postgres knows that it is done: a restart rebuilds
//     again, and must not find anything acknowledged meanwhile.
//  3. Nothing slow happens under a partition's mutex.
package replica
