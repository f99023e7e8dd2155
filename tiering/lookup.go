package tiering

import (
	"context"
	"encoding/binary"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/metadata"
)

// await repeats get until it has a value, an error, or ctx ends.
func await[T any](ctx context.Context, get func() (T, <-chan struct{}, error)) (T, error) {
	for {
		v, wait, err := get()
		if err != nil || wait == nil {
			return v, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}

// OffsetForTimestamp implements fetch.RemoteReader: segments and chunks are passed over by their greatest timestamps.
func (r *Reader) OffsetForTimestamp(ctx context.Context, tp metadata.TopicPartition, ts, from int64) (commitlog.TimestampOffset, bool, error) {
	rows, err := await(ctx, func() ([]metadata.RemoteSegment, <-chan struct{}, error) { return r.rows(tp) })
	if err != nil {
		return commitlog.TimestampOffset{}, false, err
	}
	for i := segmentOf(rows, from); i < len(rows); i++ {
		if rows[i].MaxTimestamp < ts {
			continue
		}
		if at, ok, err := r.inSegment(ctx, place{rows: rows, i: i}, ts, from); ok || err != nil {
			return at, ok, err
		}
	}
	return commitlog.TimestampOffset{}, false, nil
}

// inSegment finds the first record of p's segment with a timestamp of at least ts at or behind offset from.
func (r *Reader) inSegment(ctx context.Context, p place, ts, from int64) (found commitlog.TimestampOffset, ok bool, err error) {
	if p.table, err = await(ctx, func() (*Bundle, <-chan struct{}, error) { return r.table(p.row()) }); err != nil {
		return found, false, err
	}
	chunks := p.table.Chunks
	for p.chunk = chunkOf(chunks, from); p.chunk < len(chunks); p.chunk++ {
		if p.chunk = chunkSince(chunks, p.chunk, ts); p.chunk == len(chunks) {
			break
		}
		data, err := await(ctx, func() ([]byte, <-chan struct{}, error) { return r.chunk(p) })
		if err != nil {
			return found, false, err
		}
		if found, ok, err = firstSince(data, ts, from); ok || err != nil {
			return found, ok, err
		}
	}
	return found, false, nil
}

// MaxTimestamp implements fetch.RemoteReader.
func (r *Reader) MaxTimestamp(ctx context.Context, tp metadata.TopicPartition, from int64) (commitlog.TimestampOffset, bool, error) {
	rows, err := await(ctx, func() ([]metadata.RemoteSegment, <-chan struct{}, error) { return r.rows(tp) })
	if err != nil {
		return commitlog.TimestampOffset{}, false, err
	}
	best := -1
	for i := segmentOf(rows, from); i < len(rows); i++ {
		if rows[i].MaxTimestamp >= 0 && (best < 0 || rows[i].MaxTimestamp > rows[best].MaxTimestamp) {
			best = i
		}
	}
	if best < 0 {
		return commitlog.TimestampOffset{}, false, nil
	}
	return r.inSegment(ctx, place{rows: rows, i: best}, rows[best].MaxTimestamp, from)
}

// firstSince finds the first record in a run of batches with a timestamp of at least ts at or behind offset from.
func firstSince(data []byte, ts, from int64) (found commitlog.TimestampOffset, ok bool, err error) {
	for len(data) > 0 && !ok {
		b, rest, err := record.Split(data)
		if err != nil {
			return found, false, err
		}
		data = rest
		if b.Control() || b.Count() == 0 || b.MaxTimestamp() < ts || b.LastOffset() < from {
			continue
		}
		err = b.Walk(0, func(rec *record.Record) error {
			at := commitlog.TimestampOffset{Timestamp: b.BaseTimestamp() + rec.TimestampDelta, Offset: b.BaseOffset() + int64(rec.OffsetDelta), LeaderEpoch: b.LeaderEpoch()}
			if b.LogAppendTime() {
				at.Timestamp = b.MaxTimestamp()
			}
			if !ok && at.Timestamp >= ts && at.Offset >= from {
				found, ok = at, true
			}
			return nil
		})
		if err != nil {
			return found, false, err
		}
	}
	return found, ok, nil
}

// txnEntryBytes is the size of one entry of a transaction index: version, producer id, first offset, last offset, last stable offset.
const txnEntryBytes = 34

// Aborted implements fetch.RemoteReader: only segments whose row says that they have aborted transactions are asked.
func (r *Reader) Aborted(tp metadata.TopicPartition, from, upTo int64) ([]commitlog.AbortedTxn, <-chan struct{}, error) {
	rows, wait, err := r.rows(tp)
	if wait != nil || err != nil {
		return nil, wait, err
	}
	var txns []commitlog.AbortedTxn
	for i := segmentOf(rows, from); i < len(rows); i++ {
		if !rows[i].HasTxnIndex {
			continue
		}
		table, wait, err := r.table(&rows[i])
		if wait != nil || err != nil {
			return nil, wait, err
		}
		for e := table.TxnIndex; len(e) >= txnEntryBytes; e = e[txnEntryBytes:] {
			t := commitlog.AbortedTxn{ProducerID: int64(binary.BigEndian.Uint64(e[2:])), FirstOffset: int64(binary.BigEndian.Uint64(e[10:])),
				LastOffset: int64(binary.BigEndian.Uint64(e[18:])), LastStableOffset: int64(binary.BigEndian.Uint64(e[26:]))}
			if t.LastOffset >= from && t.FirstOffset < upTo {
				txns = append(txns, t)
			}
			if t.LastStableOffset >= upTo {
				return txns, nil, nil
			}
		}
	}
	return txns, nil, nil
}
