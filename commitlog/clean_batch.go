package commitlog

import (
	"varve/commitlog/record"
)

// lastRecord is what compaction keeps for a producer: its last data batch, by which its next sequence is known; without one the last marker of its epoch.
type lastRecord struct {
	offset int64 // of the last data, -1: none is known
	epoch  int16
}

// lastRecords returns the last records of all active producers, by id.
func (s *producers) lastRecords() map[int64]lastRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[int64]lastRecord, len(s.mu.byID))
	for id, p := range s.mu.byID {
		last, _ := p.last()
		out[id] = lastRecord{last.lastOffset, p.epoch}
	}
	return out
}

// of reports whether b is that last record.
func (r lastRecord) of(b record.Batch) bool {
	if r.offset >= 0 {
		return b.LastOffset() == r.offset
	}
	return b.Control() && b.ProducerEpoch() == r.epoch
}

// filter returns what stays of a batch, nil for nothing, and what the transaction index has to say of it (Kafka's Cleaner.cleanInto and
// MemoryRecords.filterTo).
func (p *cleanPass) filter(b record.Batch) (out record.Batch, aborted *AbortedTxn, err error) {
	now := p.o.Now.UnixMilli()
	horizon, passed := b.DeleteHorizonMs()
	passed = passed && horizon <= now
	discard, emptyTxn := false, false
	if b.Control() {
		emptyTxn, aborted, err = p.txns.marker(b)
		discard = emptyTxn && passed
	} else {
		discard = p.txns.data(b)
	}
	if err != nil {
		return nil, nil, err
	}
	last, active := p.last[b.ProducerID()]
	keepEmpty := b.ProducerID() >= 0 && active && last.of(b) || b.LastOffset()+1 == p.roundTo
	tombstones := false
	if !discard {
		out, tombstones, err = record.Filter(b, func(r *record.Record) bool { return p.keeps(b, r, passed) })
		if err != nil {
			return nil, nil, err
		}
	}
	switch {
	case out == nil && keepEmpty && b.Count() == 0:
		out = b
	case out == nil && keepEmpty:
		out = record.Empty(b)
	case out != nil && (tombstones || emptyTxn) && !b.DeleteHorizon() && out.Count() > 0:
		out, err = record.WithDeleteHorizon(out, now+p.retention.Milliseconds())
	}
	p.count(b, out)
	return out, aborted, err
}

// keeps reports whether a record stays: it is not in the map's range, or it is the last of its key, and not a tombstone whose time has passed.
func (p *cleanPass) keeps(b record.Batch, r *record.Record, passed bool) bool {
	offset := r.Offset(b)
	switch {
	case b.Control(), offset >= p.upTo:
		return true
	case r.Key == nil: // no compacted topic takes it; it was there before
		return false
	}
	return offset >= p.keys.get(r.Key) && (r.Value != nil || !passed)
}

func (p *cleanPass) count(b, out record.Batch) {
	p.done.BytesRead += int64(len(b))
	kept := int64(0)
	if out != nil {
		kept = int64(out.Count())
		p.done.BytesWritten += int64(len(out))
	}
	p.done.Kept += kept
	p.done.Removed += int64(b.Count()) - kept
}
