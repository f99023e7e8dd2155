package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Codec is a compression codec, attributes bits 0-2.
type Codec int8

// The codecs of message format v2.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String returns the codec's name as compression.type spells it.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

const (
	HeaderSize  = 61 // bytes of a v2 batch before its records
	LogOverhead = 12 // base offset and length, before the counted bytes
	Magic2      = 2  // the only message format this package knows

	ChecksummedFrom = posAttributes // where the bytes begin that CRC covers
)

// Positions of the header's fields.
const (
	posLength      = 8
	posLeaderEpoch = 12
	posMagic       = 16
	posCRC         = 17
	posAttributes  = 21
	posLastDelta   = 23
	posBaseTime    = 27
	posMaxTime     = 35
	posProducerID  = 43
	posEpoch       = 51
	posSequence    = 53
	posCount       = 57
)

const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is the bytes of exactly one RecordBatch v2, header included: a view, never a copy.
type Batch []byte

// Split returns the first batch of b and what follows it. It trusts only the length field: an incomplete batch is an
// error (CORRUPT_MESSAGE), and so is a length that leaves no room for a header.
func Split(b []byte) (first Batch, rest []byte, err error) {
	if len(b) < HeaderSize {
		return nil, b, fmt.Errorf("%w: %d bytes hold no batch header", kerr.CorruptMessage, len(b))
	}
	n := Batch(b).Size()
	if n < HeaderSize || n > int64(len(b)) {
		return nil, b, fmt.Errorf("%w: batch of %d bytes in %d", kerr.CorruptMessage, n, len(b))
	}
	return Batch(b[:n:n]), b[n:], nil
}

// Size returns the batch's bytes as its length field says, header included: len(b) for a whole batch. It may be
// called on a lone header of at least 12 bytes.
func (b Batch) Size() int64 {
	return LogOverhead + int64(int32(binary.BigEndian.Uint32(b[posLength:])))
}

// BaseOffset returns the offset of the first record when the batch was written.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b)) }

// LastOffset returns the offset of the last record when the batch was written (compaction keeps it).
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// LeaderEpoch returns the partition leader epoch, -1 when unset.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])) }

// Magic returns the message format version.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC returns the stored CRC-32C of [ChecksummedFrom, Size).
func (b Batch) CRC() uint32        { return binary.BigEndian.Uint32(b[posCRC:]) }
func (b Batch) attributes() uint16 { return binary.BigEndian.Uint16(b[posAttributes:]) }

// Codec returns the codec of the records; values above Zstd are unknown.
func (b Batch) Codec() Codec { return Codec(b.attributes() & attrCodec) }

// LogAppendTime reports whether all records have the batch's max timestamp instead of their own.
func (b Batch) LogAppendTime() bool { return b.attributes()&attrLogAppendTime != 0 }

// Transactional reports whether the batch belongs to a transaction.
func (b Batch) Transactional() bool { return b.attributes()&attrTransactional != 0 }

// Control reports whether the batch is a transaction marker.
func (b Batch) Control() bool { return b.attributes()&attrControl != 0 }

// DeleteHorizon reports whether the base timestamp is the time from which compaction may drop tombstones and markers.
func (b Batch) DeleteHorizon() bool { return b.attributes()&attrDeleteHorizon != 0 }

// LastOffsetDelta returns last offset - base offset.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[posLastDelta:])) }

// BaseTimestamp returns the time in ms that records' deltas count from.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTime:])) }

// MaxTimestamp returns the greatest timestamp in ms, or the append time of a LogAppendTime batch.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTime:])) }

// ProducerID returns the idempotent producer's id, -1 without one.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// ProducerEpoch returns the producer's epoch, -1 without one.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posEpoch:])) }

// BaseSequence returns the sequence number of the first record, -1 without one.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posSequence:])) }

// LastSequence returns the sequence number of the last record, which wraps from 2147483647 to 0; -1 without one.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base < 0 {
		return -1
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence adds n to a sequence number, which wraps from 2147483647 to 0.
func AddSequence(sequence, n int32) int32 {
	if sequence > math.MaxInt32-n {
		return n - (math.MaxInt32 - sequence) - 1
	}
	return sequence + n
}

// SubSequence subtracts n from a sequence number, which wraps from 0 to 2147483647.
func SubSequence(sequence, n int32) int32 {
	if sequence < n {
		return math.MaxInt32 - (n - sequence) + 1
	}
	return sequence - n
}

// Count returns the number of records; compaction leaves batches of 0.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Records returns the bytes after the header, compressed by Codec.
func (b Batch) Records() []byte { return b[HeaderSize:] }

// CheckCRC reports whether the CRC-32C of attributes to end matches the header.
func (b Batch) CheckCRC() bool {
	return len(b) >= HeaderSize && crc32.Checksum(b[posAttributes:], castagnoli) == b.CRC()
}

// SetBaseOffset stamps the base offset in place. It lies outside the CRC.
func (b Batch) SetBaseOffset(o int64) { binary.BigEndian.PutUint64(b, uint64(o)) }

// SetLeaderEpoch stamps the partition leader epoch in place. It lies outside the CRC.
func (b Batch) SetLeaderEpoch(e int32) { binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(e)) }

// SetMaxTimestamp stamps max timestamp (ms) and timestamp type in place and recomputes the CRC, but only if something changed.
func (b Batch) SetMaxTimestamp(ts int64, logAppendTime bool) {
	if b.MaxTimestamp() == ts && b.LogAppendTime() == logAppendTime {
		return
	}
	attrs := b.attributes() &^ attrLogAppendTime
	if logAppendTime {
		attrs |= attrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[posAttributes:], attrs)
	binary.BigEndian.PutUint64(b[posMaxTime:], uint64(ts))
	b.seal()
}

// seal recomputes the CRC.
func (b Batch) seal() {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}

// Whole returns the whole batches at the front of b: what a fetch sends may end with one that is cut short.
func Whole(b []byte) []byte {
	n := 0
	for rest := b; len(rest) >= HeaderSize; {
		size := Batch(rest).Size()
		if size < HeaderSize || size > int64(len(rest)) {
			break
		}
		n, rest = n+int(size), rest[size:]
	}
	return b[:n:n]
}
