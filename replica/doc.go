// Package replica holds the partitions of which this broker is a replica: leadership, in-sync replicas, high watermark.
//
// A [Manager] follows the metadata image. For every partition that names this broker as a replica it opens the log, and leads when the image
// says so. Slow work (recovering a log, Postgres, the bucket) runs on goroutines of the manager, one at a time per partition, so that one
// partition never holds back another.
//
// The high watermark is the least durable end offset over the in-sync replicas; it stands still while there are fewer of them than min.insync.replicas. A
// leader's view of its followers is pure (inSync); it alters the in-sync set in Postgres itself, fenced by its leader epoch and the partition epoch (isrWriter).
//
// # Following
//
// A fetcher copies all partitions that follow one broker over one connection with one fetch session. It asks for each from where its log is durable, so that asking
// is acknowledging, and does not ask again before what came is on the disk. Where histories part, the leader says so by epoch and end offset (KIP-595), and the
// follower cuts its log; never by the high watermark. A log that ends below its leader's local start is begun anew there, with producer state and leader epochs
// from the bucket. The leader's side of a session is package fetch: an append puts its partition into the queues of the sessions that follow it (Watch), so that a
// fetch costs work only for partitions with news.
//
// What refuses, breaks or stops answering makes the other broker a suspect (Config.Suspect); package metadata looks into it.
//
// Invariants:
//
//  1. A partition leads only after Postgres knows the directory of its log: a log that is lost can then never be mistaken for one
//     that is new. A log that should be here and is not makes the partition fail, never start empty.
//  2. A leader that rebuilds after an unclean election leads only after Postgres knows that it is done: a restart rebuilds
//     again, and must not find anything acknowledged meanwhile.
//  3. Nothing slow happens under a partition's mutex; a follower's truncation, which syncs, is the exception: nobody writes to it meanwhile.
//  4. A change of the in-sync set whose outcome is not known counts for both: the high watermark waits for the members of the old set and of the new one.
//  5. A replica that is not in sync may be empty; one that is, may not.
package replica
