package commitlog

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"varve/commitlog/record"
)

// rollDue decides by Kafka's rules (LogSegment.shouldRoll) whether b has to go into a new segment than s, which has size bytes
// (and perhaps more to be written before b) and whose first batch has the max timestamp first, -1 for none. REQUIRES: the writer, and
// s.writable before.
func (l *Log) rollDue(s *segment, size, first int64, b record.Batch, now time.Time) bool {
	cfg := l.cfg.Load()
	if size > cfg.SegmentBytes-int64(len(b)) || size > math.MaxInt32-int64(len(b)) {
		return size > 0 // an oversized batch gets a segment of its own
	}
	if rel := b.LastOffset() - s.base; rel < 0 || rel > math.MaxInt32 {
		return true
	}
	if size == 0 {
		return false
	}
	if waited(s.w.created, first, b, now) > cfg.SegmentAge-s.w.jitter {
		return true
	}
	offsets, times := s.mem.Load().entries()
	return offsets >= cfg.maxOffsetEntries() || times >= cfg.maxTimeEntries()
}

// waited is how long a segment has waited to be rolled: by the timestamps of its first and of the incoming batch, or by the clock.
func waited(created time.Time, first int64, b record.Batch, now time.Time) time.Duration {
	if first >= 0 {
		return time.Duration(min(b.MaxTimestamp()-first, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	}
	return now.Sub(created)
}

// Roll (W) seals the active segment if it is not empty.
func (l *Log) Roll() error {
	if err := l.writable(); err != nil || l.view.Load().active().size() == 0 {
		return err
	}
	return l.roll(l.End(), time.Now())
}

// RollIfDue (W) seals the active segment when it is not empty and its first append is longer than maxAge ago by the wall clock (for a segment
// from before a restart: its last append).
func (l *Log) RollIfDue(now time.Time, maxAge time.Duration) (bool, error) {
	s := l.view.Load().active()
	if s.size() == 0 || now.Sub(s.w.firstAppend) <= maxAge {
		return false, nil
	}
	return true, l.Roll()
}

// roll makes a segment at base the active one. The sealed one keeps its index in memory until the keeper has written it.
func (l *Log) roll(base int64, now time.Time) error {
	v := l.view.Load()
	old := v.active()
	if base == old.base {
		return nil // it is empty and begins where the new one would
	}
	x, err := old.writable()
	if err != nil {
		return err
	}
	s, err := l.createSegment(base, now)
	if err != nil {
		return err
	}
	if old.size() == 0 { // offsets jumped: nothing to keep
		l.change(func(v *view) *view { return v.with(append(v.segments[:len(v.segments)-1:len(v.segments)-1], s)...) })
		return old.drop()
	}
	if err := l.cutAhead(old); err != nil {
		l.dir.fail(err)
		return err
	}
	old.seal(x, base, l.producers.encode())
	if base > old.end() { // what compaction left out: without the snapshot, recovery would take the gap for a loss
		if err := l.finishSeal(old); err != nil {
			return err
		}
	}
	l.sync.mu.Lock()
	l.sync.mu.rolled = append(l.sync.mu.rolled, old)
	l.sync.mu.Unlock()
	l.change(func(v *view) *view { return v.with(append(v.segments[:len(v.segments):len(v.segments)], s)...) })
	l.dir.metrics.rolls.Inc()
	l.dir.keeper.seal(l, old)
	l.dir.syncer.enqueue(l)
	return nil
}

// seal ends the segment: the time index gets its greatest timestamp, whatever its interval.
func (s *segment) seal(x *index, end int64, snapshot []byte) {
	x.addTime(s.maxTs.Load(), uint32(s.w.maxTsOffset-s.base))
	s.sealing.Lock()
	defer s.sealing.Unlock()
	s.sealing.end, s.sealing.snapshot = end, snapshot
}

// createSegment makes an empty segment and its .log. The syncer makes the name durable before bytes in it are.
func (l *Log) createSegment(base int64, now time.Time) (*segment, error) {
	s := newSegment(l.dir.fs, l.path, base)
	file, err := l.dir.fs.Create(s.path(logSuffix))
	if err != nil {
		if !noSpace(err) {
			l.dir.fail(storageError("creating a segment", err))
		}
		return nil, storageError("creating a segment", err)
	}
	if err := file.Truncate(0); err != nil { // a leftover that recovery would have removed
		return nil, storageError("creating a segment", errors.Join(err, file.Close()))
	}
	s.mu.file, s.mu.refs = file, 1
	l.dir.files.keep(l, s)
	s.release()
	s.mem.Store(&index{})
	l.activate(s, now)
	l.newNames()
	return s, nil
}

// activate prepares a segment for the writer.
func (l *Log) activate(s *segment, now time.Time) {
	cfg := l.cfg.Load()
	s.w.created = now
	s.w.ahead.reset(s.size(), l.dir.ahead)
	s.modified.CompareAndSwap(0, now.UnixMilli())
	if j := min(cfg.SegmentJitter, cfg.SegmentAge); j > 0 {
		s.w.jitter = rand.N(j)
	}
	if l.dir.tails.limit > 0 {
		s.tail.cache = l.dir.tails
	}
}
