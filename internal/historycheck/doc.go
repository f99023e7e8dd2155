// Package historycheck judges a broker by what its clients saw: producers that keep an account of every acknowledged record
// ([Load]), readers that read partitions from front to back ([Reader]), and the rules that must hold between the two ([History]):
//
//   - an acknowledged record is at exactly its acknowledged offset, with the bytes that were sent;
//   - one offset never has two values, in acknowledgements or in reads, now or later;
//   - no record of an idempotent producer is there twice;
//   - the records of one producer are in the order in which it sent them, without one missing in between;
//   - offsets have no gaps, and the end never lies below an acknowledged offset.
//
// A record's value tells its producer, its number in that producer's stream to the partition, and a checksum of itself
// ([Message]), so that every record can be judged alone. A History is safe for concurrent use.
package historycheck
