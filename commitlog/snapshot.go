package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// The producer snapshot of Kafka (ProducerSnapshot.json): version int16 = 1, CRC-32C uint32 of what follows, count int32, entries.
const (
	snapshotVersion   = 1
	snapshotHeader    = 2 + 4 + 4
	snapshotEntrySize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes the producers, by id, as a snapshot. Only the newest batch of each survives it.
func (s *producers) encode() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]int64, 0, len(s.mu.byID))
	for id := range s.mu.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	b := make([]byte, snapshotHeader, snapshotHeader+len(ids)*snapshotEntrySize)
	binary.BigEndian.PutUint16(b, snapshotVersion)
	binary.BigEndian.PutUint32(b[6:], uint32(len(ids)))
	for _, id := range ids {
		p := s.mu.byID[id]
		last, _ := p.last()
		b = binary.BigEndian.AppendUint64(b, uint64(id))
		b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(last.lastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(last.lastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(last.offsetDelta))
		b = binary.BigEndian.AppendUint64(b, uint64(p.lastTimestamp))
		b = binary.BigEndian.AppendUint32(b, uint32(p.coordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.txnStart))
	}
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

// decodeProducers reads a snapshot, without the producers that have expired. Nothing is allocated before the size is known to fit.
func decodeProducers(b []byte, now time.Time, expiration time.Duration) (*producers, error) {
	if len(b) < snapshotHeader {
		return nil, fmt.Errorf("snapshot of %d bytes", len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("snapshot version %d is unknown", v)
	}
	if crc32.Checksum(b[6:], castagnoli) != binary.BigEndian.Uint32(b[2:]) {
		return nil, fmt.Errorf("the snapshot's CRC does not match")
	}
	count := int64(binary.BigEndian.Uint32(b[6:]))
	if int64(len(b)-snapshotHeader) != count*snapshotEntrySize {
		return nil, fmt.Errorf("%d bytes do not hold the %d producers announced", len(b), count)
	}
	s := &producers{}
	if count > 0 {
		s.mu.byID = make(map[int64]*producer, count)
	}
	for e := b[snapshotHeader:]; len(e) > 0; e = e[snapshotEntrySize:] {
		id, p := decodeProducer(e)
		if s.mu.byID[id] != nil {
			return nil, fmt.Errorf("producer %d twice", id)
		}
		if p.txnStart < 0 && p.lastTimestamp <= now.UnixMilli()-expiration.Milliseconds() {
			continue
		}
		s.mu.byID[id] = p
		if p.txnStart >= 0 {
			s.mu.open = append(s.mu.open, openTxn{id, p.txnStart})
		}
	}
	slices.SortFunc(s.mu.open, func(a, b openTxn) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return s, nil
}

func decodeProducer(e []byte) (id int64, p *producer) {
	p = &producer{
		epoch:            int16(binary.BigEndian.Uint16(e[8:])),
		lastTimestamp:    int64(binary.BigEndian.Uint64(e[26:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
		txnStart:         int64(binary.BigEndian.Uint64(e[38:])),
	}
	last := batchMeta{
		lastSequence: int32(binary.BigEndian.Uint32(e[10:])),
		lastOffset:   int64(binary.BigEndian.Uint64(e[14:])),
		offsetDelta:  int32(binary.BigEndian.Uint32(e[22:])),
		timestamp:    p.lastTimestamp,
	}
	if last.lastOffset >= 0 {
		p.push(last)
	}
	return int64(binary.BigEndian.Uint64(e)), p
}
