package record

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Builder assembles one batch: control markers, rewritten batches, and the batches of tests and tools. The zero value
// builds a batch of producer 0; start from [NewBuilder].
type Builder struct {
	Codec         Codec
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	LogAppendTime bool

	records   []byte
	count     int32
	lastDelta int32
	baseTime  int64
	maxTime   int64

	deleteHorizon bool // baseTime is one
}

// NewBuilder returns a builder of an uncompressed batch without a producer.
func NewBuilder() *Builder {
	return &Builder{LeaderEpoch: -1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

// Add appends a record with the next offset. timestamp is in ms; key, value and header values may be nil (null) and are copied.
func (b *Builder) Add(timestamp int64, key, value []byte, headers ...Header) *Builder {
	encoded := []byte{}
	for _, h := range headers {
		encoded = appendNullable(encoded, []byte(h.Key), false)
		encoded = appendNullable(encoded, h.Value, h.Value == nil)
	}
	delta := b.lastDelta + 1
	if b.count == 0 {
		b.baseTime, b.maxTime, delta = timestamp, timestamp, 0
	}
	b.add(&Record{
		OffsetDelta: delta, TimestampDelta: timestamp - b.baseTime,
		Key: key, Value: value, Headers: encoded, HeaderCount: int32(len(headers)),
	})
	return b
}

func (b *Builder) add(r *Record) {
	var scratch [64]byte
	head := append(scratch[:0], byte(r.Attributes))
	head = binary.AppendVarint(head, r.TimestampDelta)
	head = binary.AppendVarint(head, int64(r.OffsetDelta))
	size := len(head) + nullableSize(r.Key) + nullableSize(r.Value) + varintSize(int64(r.HeaderCount)) + len(r.Headers)
	b.records = binary.AppendVarint(b.records, int64(size))
	b.records = append(b.records, head...)
	b.records = appendNullable(b.records, r.Key, r.Key == nil)
	b.records = appendNullable(b.records, r.Value, r.Value == nil)
	b.records = binary.AppendVarint(b.records, int64(r.HeaderCount))
	b.records = append(b.records, r.Headers...)
	b.count++
	b.lastDelta = r.OffsetDelta
	b.maxTime = max(b.maxTime, b.baseTime+r.TimestampDelta)
}

func appendNullable(dst, v []byte, null bool) []byte {
	if null {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(v))), v...)
}

func nullableSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// Build returns the batch; the builder may go on and build a longer one. It panics on a codec that does not exist.
func (b *Builder) Build() Batch {
	out := make([]byte, HeaderSize, HeaderSize+len(b.records))
	out, err := compress(b.Codec, out, b.records)
	if err != nil {
		panic(err)
	}
	batch := Batch(out)
	batch.SetBaseOffset(b.BaseOffset)
	binary.BigEndian.PutUint32(batch[posLength:], uint32(len(batch)-LogOverhead))
	batch.SetLeaderEpoch(b.LeaderEpoch)
	batch[posMagic] = Magic2
	attrs := uint16(b.Codec)
	for flag, set := range map[uint16]bool{attrLogAppendTime: b.LogAppendTime, attrTransactional: b.Transactional, attrControl: b.Control,
		attrDeleteHorizon: b.deleteHorizon} {
		if set {
			attrs |= flag
		}
	}
	binary.BigEndian.PutUint16(batch[posAttributes:], attrs)
	binary.BigEndian.PutUint32(batch[posLastDelta:], uint32(b.lastDelta))
	binary.BigEndian.PutUint64(batch[posBaseTime:], uint64(b.baseTime))
	binary.BigEndian.PutUint64(batch[posMaxTime:], uint64(b.maxTime))
	binary.BigEndian.PutUint64(batch[posProducerID:], uint64(b.ProducerID))
	binary.BigEndian.PutUint16(batch[posEpoch:], uint16(b.ProducerEpoch))
	binary.BigEndian.PutUint32(batch[posSequence:], uint32(b.BaseSequence))
	binary.BigEndian.PutUint32(batch[posCount:], uint32(b.count))
	batch.seal()
	return batch
}

// Marker is the one record of a control batch.
type Marker struct {
	Commit           bool // false: abort
	CoordinatorEpoch int32
}

// NewMarker builds the control batch that ends a producer's transaction; timestamp is in ms.
func NewMarker(producerID int64, producerEpoch int16, m Marker, timestamp int64) Batch {
	b := NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = producerID, producerEpoch, true, true
	key := []byte{0, 0, 0, 0} // version 0, type 0 (abort)
	if m.Commit {
		key[3] = 1
	}
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.CoordinatorEpoch)) // version 0
	return b.Add(timestamp, key, value).Build()
}

// ParseMarker reads a control batch's record. ok is false for an emptied batch and for control types other than
// commit and abort, which Kafka ignores as well.
func ParseMarker(b Batch) (m Marker, ok bool, err error) {
	if b.Count() == 0 {
		return m, false, nil
	}
	err = b.Walk(0, func(r *Record) error {
		if len(r.Key) < 4 {
			return fmt.Errorf("%w: control key of %d bytes", kerr.InvalidRecord, len(r.Key))
		}
		kind := int16(binary.BigEndian.Uint16(r.Key[2:]))
		if kind != 0 && kind != 1 {
			return nil
		}
		if len(r.Value) < 6 {
			return fmt.Errorf("%w: control value of %d bytes", kerr.InvalidRecord, len(r.Value))
		}
		m, ok = Marker{Commit: kind == 1, CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}, true
		return nil
	})
	return m, ok && err == nil, err
}
