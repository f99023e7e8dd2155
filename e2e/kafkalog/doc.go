// Package kafkalog gives Kafka the directories that our log wrote: a real Kafka started on a copy of them has to serve the same bytes, the same aborted
// transactions, the same offsets and the same producers, after a clean stop as after a crash that has it check and recover all of it; and its cleaner
// has to leave the same records of them as ours.
package kafkalog
