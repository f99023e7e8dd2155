package commitlog

import (
	"errors"
	"io"
	"slices"
	"time"

	"varve/commitlog/record"
)

// Damage is a local segment of which some bytes are not what was written, or are not given back by the disk. What is sound of it is still read. It stays damaged
// until it is repaired, dropped, or found sound.
type Damage struct {
	SegmentInfo
	Err *CorruptionError
}

// Damaged lists the segments that a read or a scrub found damaged.
func (l *Log) Damaged() (out []Damage) {
	v := l.view.Load()
	for i, s := range v.segments {
		if err := s.damage.Load(); err != nil {
			out = append(out, Damage{v.info(i), err})
		}
	}
	return out
}

// noteDamage remembers a CorruptionError of a segment, says it once, and returns it.
func (l *Log) noteDamage(err error) error {
	var damage *CorruptionError
	if !errors.As(err, &damage) {
		return err
	}
	v := l.view.Load()
	for i, s := range v.segments {
		if s.path(logSuffix) != damage.Path || !s.damage.CompareAndSwap(nil, damage) {
			continue
		}
		l.dir.metrics.damaged.Inc()
		l.dir.logger.Error("a segment is damaged: what is sound of it is served, the rest from the bucket, which repairs it, if it is live there; else restore the file from a copy, or give its records up (kafka-delete-records)",
			"log", l.name, "first_offset", s.base, "end_offset", v.endOf(i), "error", damage)
	}
	return err
}

// Scrub checks the segments that were last scrubbed before due, every batch, as the disk has them: what is cached of a sealed segment is dropped first, and
// again afterwards, unless readers use the segment. throttle is told how many bytes come next, and waits as it likes; its error ends the scrub.
// Damage is remembered (Damaged) and is no error.
func (l *Log) Scrub(due time.Time, throttle func(bytes int) error) error {
	v := l.view.Load()
	for i, s := range v.segments {
		if s.size() == 0 || s.verified.Load() >= due.Unix() {
			continue
		}
		err := l.scrub(v, i, throttle)
		if errors.Is(err, errDropped) {
			continue
		}
		if err != nil {
			return err
		}
		s.verified.Store(time.Now().Unix())
	}
	return nil
}

// Verify checks the sealed segment at base as Scrub does, and returns what is wrong with it.
func (l *Log) Verify(base int64) error {
	v := l.view.Load()
	i := v.find(base)
	if v.segments[i].base != base || i+1 == len(v.segments) {
		return outOfRange(l, base, l.localStart(v), v.active().base)
	}
	if err := l.scrub(v, i, func(int) error { return nil }); err != nil {
		return err
	}
	if damage := v.segments[i].damage.Load(); damage != nil {
		return damage
	}
	return nil
}

// scrubStep is how much is checked between two calls of throttle, bytes.
const scrubStep = 1 << 20

func (l *Log) scrub(v *view, i int, throttle func(bytes int) error) error {
	s := v.segments[i]
	tip := s.tip.Load()
	end, size := s.base+int64(tip>>32), int64(tip&0xffffffff)
	file, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	if sealed := i+1 < len(v.segments); sealed {
		end = v.endOf(i)
		if s.quiet() {
			defer file.DropCache()
			file.DropCache()
		}
	}
	check := l.verifier(s, file, end, size)
	defer check.release()
	for pos := int64(0); pos < size; {
		n := min(scrubStep, size-pos)
		if err := throttle(int(n)); err != nil {
			return err
		}
		good, damage := check.check(pos, n)
		if damage == nil && good == 0 { // a batch larger than a step
			good, damage = check.check(pos, size-pos)
		}
		if damage != nil {
			if l.closed.Load() || l.truncated(s) {
				return errDropped // what was read may be what was cut off
			}
			_ = l.noteDamage(damage)
			return nil
		}
		l.dir.metrics.scrubbed.Add(float64(good))
		pos += good
	}
	s.damage.Store(nil)
	return nil
}

// truncated reports whether s is no longer in the log.
func (l *Log) truncated(s *segment) bool { return !slices.Contains(l.view.Load().segments, s) }

// quiet reports whether nobody but the caller has the file open.
func (s *segment) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.refs == 1
}

// Repair replaces the bytes of the sealed segment at base by those of src, which end it: the same batches, as they were before the damage. Every batch is
// checked, and src must have as many bytes as the segment. Readers and the writer are not disturbed; a crash leaves the old file or the new one.
// OFFSET_OUT_OF_RANGE: there is no such segment any more.
func (l *Log) Repair(base int64, src io.Reader) error {
	v := l.view.Load()
	i := v.find(base)
	s := v.segments[i]
	if s.base != base || i+1 == len(v.segments) {
		return outOfRange(l, base, l.localStart(v), v.active().base)
	}
	err := l.replace([]*segment{s}, v.endOf(i), func(r *replacement) error {
		r.changed = true
		aborted, err := s.readAborted()
		if err != nil {
			return err
		}
		r.txns = slices.Clone(aborted)
		return l.refill(r, s.size(), src)
	})
	if err == nil {
		l.dir.metrics.repaired.Inc()
		l.dir.logger.Info("a damaged segment is repaired", "log", l.name, "first_offset", base)
	}
	return err
}

// refill writes the batches of src, size bytes, to r.
func (l *Log) refill(r *replacement, size int64, src io.Reader) error {
	bad := func(why string) error {
		return &CorruptionError{r.s.path(logSuffix + cleanedSuffix), r.size, -1, "repair: " + why}
	}
	next := r.s.base
	for r.size < size {
		buf := make([]byte, record.HeaderSize)
		if _, err := io.ReadFull(src, buf); err != nil {
			return storageError("reading what repairs a segment", err)
		}
		length := record.Batch(buf).Size()
		if length < record.HeaderSize || length > size-r.size {
			return bad("batch length does not fit")
		}
		buf = append(buf, make([]byte, length-record.HeaderSize)...)
		if _, err := io.ReadFull(src, buf[record.HeaderSize:]); err != nil {
			return storageError("reading what repairs a segment", err)
		}
		b := record.Batch(buf)
		if b.Magic() != record.Magic2 || !b.CheckCRC() || b.BaseOffset() < next {
			return bad("the batch is not sound there either")
		}
		next = b.LastOffset() + 1
		if err := r.add(b, l.cfg.Load().IndexIntervalBytes); err != nil {
			return err
		}
	}
	if n, err := io.Copy(io.Discard, src); err != nil || n > 0 { // a reader may check what it read at the end
		return errors.Join(bad("there are more bytes than in the segment"), err)
	}
	return nil
}
