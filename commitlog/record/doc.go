// Package record reads, checks, rewrites and builds Kafka's RecordBatch v2.
//
// A [Batch] is a view of the bytes of one batch, header included:
//
//	offset  size  field
//	     0     8  base offset            not covered by the CRC: the broker stamps it in place
//	     8     4  length                 bytes that follow this field
//	    12     4  partition leader epoch not covered by the CRC: the broker stamps it in place
//	    16     1  magic                  2
//	    17     4  CRC-32C                of everything from 21 to the end
//	    21     2  attributes             0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
//	    23     4  last offset delta
//	    27     8  base timestamp
//	    35     8  max timestamp
//	    43     8  producer id            -1: none
//	    51     2  producer epoch
//	    53     4  base sequence
//	    57     4  record count
//	    61        records, compressed as a whole by the codec
//
// Accessors trust the header and never allocate; [Split] guarantees that there is one. Bytes that come from a peer
// are to be checked with [Batch.CheckCRC], and their records with [Batch.Walk], before anybody believes the rest.
//
// Decompression is a stream through pooled decoders. No allocation follows from a number in the data: buffers grow
// with the bytes that really arrive, up to the caller's bound.
package record
