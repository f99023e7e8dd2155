// Package commitlog is the local log of a partition: Kafka's files, byte for byte, and Kafka's rules for them.
//
// # Layout
//
//	DIR/.lock                             held while a process uses the directory
//	DIR/meta.properties                   whose directory this is: cluster.id, node.id, directory.id
//	DIR/.kafka_cleanshutdown              it was closed properly; removed when it is opened
//	DIR/recovery-point-offset-checkpoint  below these offsets nothing has to be recovered
//	DIR/log-start-offset-checkpoint
//	DIR/topic-0/partition.metadata        the topic id
//	DIR/topic-0/leader-epoch-checkpoint   which leader epoch began where
//	DIR/topic-0/BASE.log                  batches; BASE is the first offset, 20 digits
//	DIR/topic-0/BASE.index                offset index of a sealed segment
//	DIR/topic-0/BASE.timeindex            time index of a sealed segment
//	DIR/topic-0/BASE.txnindex             aborted transactions, only if there are any
//	DIR/topic-0/OFFSET.snapshot           producer state at an offset
//	DIR/topic-0.UUID-delete, -stray       removed topics; directories of another topic with the name
//
// docs/format describes the bytes. Behind the batches of an active segment there may be zeros, written ahead of what will be appended. The index of an active segment lives in memory; its files are written when the segment is sealed or the
// log is closed.
//
// # Who does what
//
// The writer of a [Log] (the holder of its partition's mutex) calls the methods marked W. It does one pwrite for an append and nothing
// slower. Readers never wait for it: they load the immutable view behind an atomic pointer and the active segment's published end, one word
// that holds end offset and size. What a reader uses it acquires: a segment's file stays open, a chunk of the memory tail stays
// whole until the [Slice] or [Sealed] is released, also when the segment has been deleted meanwhile. Deleting renames to .deleted;
// a goroutine of the Dir, the keeper, removes the files later.
//
// The syncer, one goroutine of the [Dir], makes appended bytes durable and publishes durable ends: group commit. The keeper writes the
// indexes and snapshots of sealed segments and the checkpoints.
//
// The owner of the log decides when it is compacted (Clean) and scrubbed (Scrub); both run beside the writer and readers. What they rewrite takes the place of
// segments by compare-and-swap of the view, after a rename that a crash finishes or undoes.
//
// # Damage
//
// Batches that leave a file are checked before: a [CorruptionError] says that there is nothing sound at an offset, or that the disk does not give it back. The segment is
// then one of Damaged until it is repaired from given bytes (Repair), found sound by a scrub, or dropped. Other batches of it are served.
//
// # Invariants
//
//  1. Offsets below Durable survive a power loss (durability fsync): the .log was synced, and before it the names in its directory and the
//     leader epochs of its batches.
//  2. The .index of a sealed segment, and the .snapshot at its end, are written when its .log is durable. So a gap before a segment is what
//     compaction left if there is a snapshot at its base, and otherwise a loss.
//  3. The published end of a log never covers bytes that are not written, indexed, and taken into the producer state.
//  4. After a failed fsync or write the Dir is failed: nothing is written or synced again, reads go on. A full disk is
//     no failure: the append is refused, what was written of it is cut off, and the log takes appends when there is space.
//
// # Recovery
//
// After a clean shutdown the log end is read from the last index entry on. Otherwise every segment that reaches beyond the recovery point
// is scanned: batches with their CRC, indexes, transaction index, leader epochs and producer state anew. The first bad batch ends the log: the
// segment is cut there and later segments are removed. A segment without its index is scanned after a clean shutdown as well. A log that
// ends below its log start is begun anew there.
package commitlog
