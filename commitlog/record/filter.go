package record

import "encoding/binary"

// What compaction leaves of a batch (Kafka's MemoryRecords.filterTo): records go, but the offsets, sequences, producer and leader epoch of the batch stay, so
// that readers, followers and the producer state see the same log with gaps.

// Filter returns b with only the records that keep wants; b itself when that is all of them, nil when it is none. tombstones reports whether a kept record
// has no value. The errors are those of Walk.
func Filter(b Batch, keep func(r *Record) bool) (out Batch, tombstones bool, err error) {
	w := rewriter(b)
	err = b.Walk(0, func(r *Record) error {
		if keep(r) {
			tombstones = tombstones || r.Value == nil
			w.add(r)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, false, err
	case w.count == b.Count():
		return b, tombstones, nil
	case w.count == 0:
		return nil, false, nil
	}
	return finish(w, b), tombstones, nil
}

// WithDeleteHorizon returns b with the time in ms from which on its tombstones and markers may go (KIP-534): it takes the place of the base timestamp. The
// errors are those of Walk.
func WithDeleteHorizon(b Batch, horizon int64) (Batch, error) {
	w := rewriter(b)
	w.baseTime, w.deleteHorizon = horizon, true
	err := b.Walk(0, func(r *Record) error {
		r.TimestampDelta += b.BaseTimestamp() - horizon
		w.add(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return finish(w, b), nil
}

// DeleteHorizonMs returns the time from which on the tombstones and markers of b may go, false when none was set.
func (b Batch) DeleteHorizonMs() (ms int64, ok bool) { return b.BaseTimestamp(), b.DeleteHorizon() }

// Empty returns b without records: what is kept of a batch that only tells a producer's last sequence, or where the log went on.
func Empty(b Batch) Batch {
	out := make(Batch, HeaderSize)
	copy(out, b)
	binary.BigEndian.PutUint32(out[posLength:], HeaderSize-LogOverhead)
	binary.BigEndian.PutUint16(out[posAttributes:], b.attributes()&^(attrCodec|attrDeleteHorizon))
	binary.BigEndian.PutUint64(out[posBaseTime:], ^uint64(0)) // -1
	binary.BigEndian.PutUint32(out[posCount:], 0)
	out.seal()
	return out
}

// rewriter returns a builder of a batch that has all of b but the records.
func rewriter(b Batch) *Builder {
	return &Builder{
		Codec: b.Codec(), BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		Transactional: b.Transactional(), Control: b.Control(), LogAppendTime: b.LogAppendTime(),
		baseTime: b.BaseTimestamp(), maxTime: -1, deleteHorizon: b.DeleteHorizon(),
	}
}

// finish builds w with the last offset of b.
func finish(w *Builder, b Batch) Batch {
	if b.LogAppendTime() {
		w.maxTime = b.MaxTimestamp()
	}
	w.lastDelta = b.LastOffsetDelta()
	return w.Build()
}
