package commitlog

import (
	"errors"
	"time"

	"varve/commitlog/record"
)

// CleanOptions are what a pass of compaction may use.
type CleanOptions struct {
	Now      time.Time
	MapBytes int64 // log.cleaner.dedupe.buffer.size: memory for the keys of one pass
	// Throttle is told how many bytes were read or written, and waits as it likes (log.cleaner.io.max.bytes.per.second). Its error ends the pass, which leaves
	// the log as it was. nil: no limit.
	Throttle func(bytes int) error
}

// Cleaned says what a pass of compaction did.
type Cleaned struct {
	From, To                int64 // offsets whose keys were looked at
	BytesRead, BytesWritten int64 // of the segments that were compacted, and of what is left of them
	Kept, Removed           int64 // records
}

// errChanged says that the log was truncated or trimmed under a pass: what it wrote is void.
var errChanged = errors.New("the log was truncated or trimmed while it was compacted")

// Clean compacts the log below d.To, as Dirty found it: of each key that occurs in [d.From, d.To), only the last record stays. Tombstones and transaction
// markers go delete.retention.ms after the first pass that could have removed them; aborted records go at once. What stays keeps its offset. Readers and the
// writer are not disturbed; a crash at any point leaves the old segments or the new ones. One goroutine at a time may clean a log; it need not be the
// writer.
func (l *Log) Clean(d Dirty, o CleanOptions) (Cleaned, error) {
	if o.Throttle == nil {
		o.Throttle = func(int) error { return nil }
	}
	p := &cleanPass{l: l, o: o, retention: l.cfg.Load().Compaction.DeleteRetention, last: l.producers.lastRecords()}
	p.done.From, p.done.To, p.upTo = d.From, d.From, d.From
	err := p.run(d)
	if errors.Is(err, errChanged) || errors.Is(err, errDropped) || l.closed.Load() {
		return p.done, nil // there will be another pass, or none
	}
	if err == nil {
		l.compacted.Store(p.done.To)
	}
	return p.done, err
}

// cleanPass is one pass over one log.
type cleanPass struct {
	l         *Log
	o         CleanOptions
	retention time.Duration
	last      map[int64]lastRecord // by producer id
	done      Cleaned

	keys    *offsetMap
	upTo    int64 // keys of [done.From, upTo) are in the map
	roundTo int64 // the end of the last batch that is: it stays, if empty, so that the log's end is known
	txns    *cleanTxns
}

func (p *cleanPass) run(d Dirty) error {
	v := p.l.view.Load()
	first, n := v.find(d.From), 0
	for n < len(v.segments)-1 && v.endOf(n) <= d.To {
		n++
	}
	if first >= n {
		return nil
	}
	aborted, err := p.l.Aborted(v.base(), d.To)
	if err != nil {
		return err
	}
	p.keys, p.txns = newOffsetMap(p.o.MapBytes, d.To-d.From), newCleanTxns(aborted)
	for i := first; i < n; i++ {
		full, err := p.mapKeys(v.segments[i])
		if err != nil {
			return err
		}
		if full { // the segments behind it keep all
			n = i + 1
			break
		}
		p.upTo = v.endOf(i)
	}
	p.txns = newCleanTxns(aborted)
	ends := make([]int64, n)
	for i := range ends {
		ends[i] = v.endOf(i)
	}
	at := 0
	for _, group := range groups(v.segments[:n], ends, p.l.cfg.Load().SegmentBytes) {
		at += len(group)
		if err := p.rewrite(group, ends[at-1]); err != nil {
			return err
		}
	}
	p.done.To = p.upTo
	return nil
}

// scan calls f with every batch of a segment that ends at or behind from.
func (p *cleanPass) scan(s *segment, from int64, f func(b record.Batch) error) error {
	file, err := s.acquire()
	if errors.Is(err, errDropped) {
		return errChanged
	}
	if err != nil {
		return err
	}
	defer s.release()
	scan := batchScan{file: file, end: s.size()}
	if from > s.base {
		if scan.pos, err = s.floor(from); err != nil {
			return err
		}
	}
	for scan.next() {
		if err := p.o.Throttle(len(scan.batch)); err != nil {
			return err
		}
		if scan.batch.LastOffset() < from {
			continue
		}
		if err := f(scan.batch); err != nil {
			return err
		}
	}
	if scan.bad != "" {
		return &CorruptionError{s.path(logSuffix), scan.pos, -1, scan.bad}
	}
	if scan.err != nil {
		return storageError("compacting", scan.err)
	}
	return nil
}

var errMapFull = errors.New("no more keys fit")

// mapKeys takes the last offsets of a segment's keys into the map. full: not all of them found room.
func (p *cleanPass) mapKeys(s *segment) (full bool, err error) {
	err = p.scan(s, p.done.From, func(b record.Batch) error {
		if b.Control() {
			_, _, err := p.txns.marker(b)
			p.upTo, p.roundTo = b.LastOffset()+1, b.LastOffset()+1
			return err
		}
		if !p.txns.data(b) {
			err := b.Walk(0, func(r *record.Record) error {
				offset := r.Offset(b)
				if r.Key != nil && offset >= p.done.From {
					if p.keys.full() && p.keys.get(r.Key) < 0 {
						p.upTo = offset
						return errMapFull
					}
					p.keys.put(r.Key, offset)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		p.upTo, p.roundTo = b.LastOffset()+1, b.LastOffset()+1
		return nil
	})
	if errors.Is(err, errMapFull) {
		return true, nil
	}
	return false, err
}
