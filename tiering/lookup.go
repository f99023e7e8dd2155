package tiering

import (
	"context"
	"encoding/binary"
	"errors"

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
		r.chunks.finished(p.key())
		if found, ok, err = firstSince(data, ts, from); ok || err != nil {
			return found, ok, err
		}
	}
	return found, false, nil
}

// MaxTimestamp implements fetch.RemoteReader: the first record that has the greatest timestamp at or behind from. What lies wholly behind from is
// known without a read; only the segment, and in it the chunk, that holds from is looked into.
func (r *Reader) MaxTimestamp(ctx context.Context, tp metadata.TopicPartition, from int64) (found commitlog.TimestampOffset, ok bool, err error) {
	rows, err := await(ctx, func() ([]metadata.RemoteSegment, <-chan struct{}, error) { return r.rows(tp) })
	if err != nil {
		return found, false, err
	}
	i, best, bestIn := segmentOf(rows, from), int64(-1), -1
	if i < len(rows) && rows[i].BaseOffset < from {
		if found, ok, err = r.maxInSegment(ctx, place{rows: rows, i: i}, from); err != nil {
			return found, false, err
		}
		if ok {
			best = found.Timestamp
		}
		i++
	}
	for ; i < len(rows); i++ {
		if rows[i].MaxTimestamp > best {
			best, bestIn = rows[i].MaxTimestamp, i
		}
	}
	if bestIn < 0 {
		return found, ok, nil
	}
	return r.inSegment(ctx, place{rows: rows, i: bestIn}, best, from)
}

// maxInSegment finds the first record of p's segment that has the greatest timestamp at or behind offset from, which lies in it.
func (r *Reader) maxInSegment(ctx context.Context, p place, from int64) (found commitlog.TimestampOffset, ok bool, err error) {
	if p.table, err = await(ctx, func() (*Bundle, <-chan struct{}, error) { return r.table(p.row()) }); err != nil || len(p.table.Chunks) == 0 {
		return found, false, err
	}
	p.chunk = chunkOf(p.table.Chunks, from)
	data, err := await(ctx, func() ([]byte, <-chan struct{}, error) { return r.chunk(p) })
	if err != nil {
		return found, false, err
	}
	r.chunks.finished(p.key())
	best := int64(-1)
	err = walkSince(data, 0, from, func(at commitlog.TimestampOffset) bool {
		if at.Timestamp > best {
			found, ok, best = at, true, at.Timestamp
		}
		return true
	})
	if err != nil {
		return found, false, err
	}
	rest := p.table.Chunks[p.chunk+1:]
	for i := range rest {
		best = max(best, rest[i].MaxTimestamp)
	}
	if best < 0 || ok && best == found.Timestamp {
		return found, ok, nil
	}
	return r.inSegment(ctx, p, best, from)
}

// firstSince finds the first record in a run of batches with a timestamp of at least ts at or behind offset from.
func firstSince(data []byte, ts, from int64) (found commitlog.TimestampOffset, ok bool, err error) {
	err = walkSince(data, ts, from, func(at commitlog.TimestampOffset) bool {
		found, ok = at, true
		return false
	})
	return found, ok, err
}

var errStop = errors.New("stop")

// walkSince calls visit for the records in a run of batches with a timestamp of at least ts at or behind offset from, until it returns false.
func walkSince(data []byte, ts, from int64, visit func(commitlog.TimestampOffset) bool) error {
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return err
		}
		data = rest
		if b.MaxTimestamp() < ts || b.LastOffset() < from {
			continue
		}
		err = b.Walk(0, func(rec *record.Record) error {
			at := commitlog.TimestampOffset{Timestamp: rec.Timestamp(b), Offset: rec.Offset(b), LeaderEpoch: b.LeaderEpoch()}
			if at.Timestamp >= ts && at.Offset >= from && !visit(at) {
				return errStop
			}
			return nil
		})
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
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
