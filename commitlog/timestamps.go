package commitlog

import (
	"errors"

	"varve/commitlog/record"
)

// TimestampOffset is one answer of a lookup by time.
type TimestampOffset struct {
	Timestamp   int64 // ms
	Offset      int64
	LeaderEpoch int32 // -1: unknown
}

// OffsetForTimestamp finds the first record with timestamp >= ts and offset in [LocalStart, upTo). ok false: none.
func (l *Log) OffsetForTimestamp(ts, upTo int64) (TimestampOffset, bool, error) {
	return l.lookup(func(v *view) (TimestampOffset, bool, error) {
		start := l.localStart(v)
		for _, s := range v.segments[v.find(start):] {
			if s.base >= upTo || s.maxTs.Load() < ts {
				continue
			}
			from, err := s.timeFloor(ts)
			if err != nil {
				return TimestampOffset{}, false, err
			}
			found, ok, err := s.findTimestamp(ts, max(from, start), start, upTo)
			if ok || err != nil {
				return found, ok, err
			}
		}
		return TimestampOffset{}, false, nil
	})
}

// MaxTimestamp finds the first record that has the greatest timestamp in [LocalStart, upTo). Kafka looks at the whole log: it answers
// nothing when the greatest timestamp lies above upTo, which on a busy log is most of the time, and a record below the log start when all
// above it is deleted. Neither helps anybody.
func (l *Log) MaxTimestamp(upTo int64) (TimestampOffset, bool, error) {
	return l.lookup(func(v *view) (found TimestampOffset, ok bool, err error) {
		start := l.localStart(v)
		best, bestIn := int64(-1), -1
		for i := v.find(start); i < len(v.segments) && v.segments[i].base < upTo; i++ {
			ts := v.segments[i].maxTs.Load()
			if v.endOf(i) > upTo || v.segments[i].base < start {
				if ts, err = v.segments[i].maxTimestampIn(start, upTo); err != nil {
					return found, false, err
				}
			}
			if ts > best {
				best, bestIn = ts, i
			}
		}
		if bestIn < 0 {
			return found, false, nil
		}
		s := v.segments[bestIn]
		return s.findTimestamp(best, max(s.base, start), start, upTo)
	})
}

// lookup runs f on the newest view, again while segments go under it.
func (l *Log) lookup(f func(v *view) (TimestampOffset, bool, error)) (TimestampOffset, bool, error) {
	for {
		v := l.view.Load()
		found, ok, err := f(v)
		if !l.retry(v, &err) {
			return found, ok, l.noteDamage(err)
		}
	}
}

// maxTimestampIn scans the headers of the batches that lie within [start, upTo).
func (s *segment) maxTimestampIn(start, upTo int64) (ts int64, err error) {
	ts = -1
	from, err := s.floor(start)
	if err != nil {
		return ts, err
	}
	h := headerScan{s: s, pos: from, end: s.size()}
	defer h.close()
	for h.next() && h.batch.BaseOffset() < upTo {
		if h.batch.LastOffset() >= start {
			ts = max(ts, h.batch.MaxTimestamp())
		}
	}
	return ts, h.err
}

var errStop = errors.New("stop")

// findTimestamp scans from the batch of offset from for the first record with timestamp >= ts and offset in [start, upTo).
func (s *segment) findTimestamp(ts, from, start, upTo int64) (found TimestampOffset, ok bool, err error) {
	pos, err := s.floor(from)
	if err != nil {
		return found, false, err
	}
	h := headerScan{s: s, pos: pos, end: s.size()}
	defer h.close()
	for h.next() && h.batch.BaseOffset() < upTo {
		if h.batch.MaxTimestamp() < ts || h.batch.LastOffset() < start {
			continue
		}
		b, err := s.readBatch(h.at, h.batch.Size())
		if err != nil {
			return found, false, err
		}
		if !b.CheckCRC() {
			return found, false, &CorruptionError{s.path(logSuffix), h.at, b.BaseOffset(), "CRC does not match"}
		}
		err = b.Walk(0, func(r *record.Record) error {
			t, o := r.Timestamp(b), r.Offset(b)
			if t < ts || o < start || o >= upTo {
				return nil
			}
			found, ok = TimestampOffset{t, o, b.LeaderEpoch()}, true
			return errStop
		})
		if ok {
			return found, true, nil
		}
		if err != nil {
			return found, false, &CorruptionError{s.path(logSuffix), h.at, b.BaseOffset(), err.Error()}
		}
	}
	return found, false, h.err
}
