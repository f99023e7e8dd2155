// Package cache is the tier's second cache: chunks of history on local disk, behind those in memory.
//
// A chunk goes to disk when the bucket has brought it twice. One replay of a topic, however long, writes nothing: it would push out what others
// come back for, and its writes would stand in the way of producers' syncs. Files are written one after the other by one goroutine, without a
// sync; a chunk that finds the queue full is not kept. A file that a crash has damaged is found by the checksum of the chunk table, which every
// read checks, and removed. The least recently used go first; after a restart the order is that of writing.
//
// The directory is the cache's own and may be deleted while the broker is stopped.
package cache
