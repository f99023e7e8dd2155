package main

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const recordSize = 1024 // bytes of a record's value

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newBatch builds an uncompressed RecordBatch v2 of count records of recordSize bytes without keys, values not compressible.
func newBatch(count int) []byte { return newBatchOf(count, recordSize) }

// newBatchOf is newBatch with values of size bytes.
func newBatchOf(count, size int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	value := make([]byte, size)
	var records []byte
	for i := range count {
		rng.Read(value)
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(i)
		r.Value = value
		body := r.AppendTo(nil)[1:] // without the length of an unset Length
		records = binary.AppendVarint(records, int64(len(body)))
		records = append(records, body...)
	}
	now := time.Now().UnixMilli()
	b := kmsg.NewRecordBatch()
	b.Magic = 2
	b.PartitionLeaderEpoch = -1
	b.LastOffsetDelta = int32(count - 1)
	b.FirstTimestamp, b.MaxTimestamp = now, now
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = -1, -1, -1
	b.NumRecords = int32(count)
	b.Records = records
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}
