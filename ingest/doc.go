// Package ingest is the produce path: validation in Kafka's order, append, waiting for acknowledgements.
//
// [Producer.Append] validates and appends synchronously, in the caller's order, so that requests of one connection are appended in the
// order in which they came; it never waits for a disk or the network. [Pending.Wait] waits for acknowledgements in the purgatory.
//
// Every record of a batch is walked, compressed ones as a stream, without an allocation per record. A batch is stamped in place; it is
// rebuilt only when the topic's compression differs or its offsets are not 0, 1, 2, …
//
// Callers keep the bytes of a request alive until Append has returned. An error without a Kafka code becomes KAFKA_STORAGE_ERROR:
// an idempotent producer must never see UNKNOWN_SERVER_ERROR, which ends it.
package ingest
