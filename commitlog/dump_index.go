package commitlog

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"varve/commitlog/record"
)

// eachEntry calls visit with the entries of an index file until it returns false, and says what is left behind the last one.
func (d *Dumper) eachEntry(ctx context.Context, f *dumpFile, size int64, visit func(i int64, e []byte) bool) {
	r := bufio.NewReader(io.NewSectionReader(f, 0, f.size))
	e := make([]byte, size)
	for i := range f.size / size {
		if d.stopped(ctx) {
			return
		}
		if _, err := io.ReadFull(r, e); err != nil {
			d.Problem(&CorruptionError{f.path, i * size, -1, err.Error()})
			return
		}
		if !visit(i, e) {
			return
		}
	}
	if rest := f.size % size; rest != 0 {
		d.Problem(&CorruptionError{f.path, f.size - rest, -1, "the last entry is cut short"})
	}
}

// signed is a 4-byte number as Kafka reads it.
func signed(b []byte) int64 { return int64(int32(binary.BigEndian.Uint32(b))) }

// index prints an .index and compares it with the .log beside it.
func (d *Dumper) index(ctx context.Context, f *dumpFile) {
	base := d.base(f)
	if f.size < offsetEntrySize {
		d.printf("%s is empty.\n", f.path)
		return
	}
	if d.o.SanityOnly {
		d.sane(f, "Index file", offsetEntrySize, func(_, last []byte) error {
			if offset := base + signed(last); offset < base {
				return f.wrong("Corrupt index found: the last offset is %d which is less than the base offset %d", offset, base)
			}
			return nil
		})
		return
	}
	log := d.beside(f, logSuffix)
	defer log.close()
	var s *dumpScan
	if log != nil {
		s = scanLog(log, log.size)
	}
	d.eachEntry(ctx, f, offsetEntrySize, func(i int64, e []byte) bool {
		offset, pos := base+signed(e), signed(e[4:])
		if offset == base && i > 0 {
			return false // pre-allocated zeros
		}
		if s != nil {
			d.compareOffset(f, s, i, offset, pos)
		}
		if !d.o.VerifyOnly {
			d.printf("offset: %d position: %d\n", offset, pos)
		}
		return true
	})
}

// compareOffset looks whether the batch at pos ends at offset.
func (d *Dumper) compareOffset(f *dumpFile, s *dumpScan, i, offset, pos int64) {
	b, why := s.at(pos)
	if why != "" {
		d.Problem(&CorruptionError{f.path, i * offsetEntrySize, offset, why})
	} else if b.LastOffset() != offset {
		d.report.add(mismatch, offset, b.LastOffset())
	}
}

// at returns the header of the batch at pos, or why there is none.
func (s *dumpScan) at(pos int64) (record.Batch, string) {
	if pos < 0 || pos >= s.end {
		return nil, "the position lies outside of the .log"
	}
	s.pos, s.bad = pos, ""
	b := s.header()
	switch {
	case s.err != nil:
		why := s.err.Error()
		s.err = nil
		return nil, why
	case s.bad != "":
		return nil, "at its position in the .log: " + s.bad
	case b == nil:
		return nil, "at its position in the .log is no whole batch"
	}
	if why := readable(b); why != "" {
		return nil, "at its position in the .log: " + why
	}
	return b, ""
}

// sane prints whether the index file f would pass Kafka's check at startup. check gets its first and its last entry.
func (d *Dumper) sane(f *dumpFile, what string, size int64, check func(first, last []byte) error) {
	n := f.size / size
	first, last := make([]byte, size), make([]byte, size)
	var err error
	if n > 0 {
		_, errFirst := f.ReadAt(first, 0)
		_, errLast := f.ReadAt(last, (n-1)*size)
		if err = errors.Join(errFirst, errLast); errors.Is(err, io.EOF) {
			err = nil // at the end of the file, the entry read
		}
		if err == nil {
			err = check(first, last)
		}
	}
	if err == nil && f.size%size != 0 {
		err = f.wrong("%s is corrupt, found %d bytes which is neither positive nor a multiple of %d", what, f.size, size)
	}
	if err != nil {
		d.Problem(err)
		return
	}
	d.printf("%s passed sanity check.\n", f.path)
}

// timeIndex prints a .timeindex and compares it with the .log beside it, where the .index beside it leads.
func (d *Dumper) timeIndex(ctx context.Context, f *dumpFile) {
	base := d.base(f)
	if d.o.SanityOnly {
		d.sane(f, "Time index file", timeEntrySize, func(first, last []byte) error {
			switch offset := base + signed(last[8:]); {
			case timeKey(last) < timeKey(first):
				return f.wrong("Corrupt time index found: the last timestamp is %d which is less than the first timestamp %d", timeKey(last), timeKey(first))
			case offset < base:
				return f.wrong("Corrupt time index found: the last offset is %d which is less than the first offset %d", offset, base)
			}
			return nil
		})
		return
	}
	log := d.beside(f, logSuffix)
	defer log.close()
	c := timeCheck{f: f, base: base, previous: -1}
	if log != nil {
		c.log, c.index = scanLog(log, log.size), d.beside(f, indexSuffix)
		defer c.index.close()
	}
	d.eachEntry(ctx, f, timeEntrySize, func(i int64, e []byte) bool {
		ts, offset := timeKey(e), base+signed(e[8:])
		if offset == base && i > 0 {
			return false // pre-allocated zeros
		}
		if c.log != nil {
			d.compareTime(ctx, &c, i, ts, offset)
		}
		if !d.o.VerifyOnly {
			d.printf("timestamp: %d offset: %d\n", ts, offset)
		}
		c.previous = ts
		return true
	})
}

// timeCheck compares the entries of a time index with the log.
type timeCheck struct {
	f        *dumpFile
	base     int64
	log      *dumpScan
	index    *dumpFile // nil: the log is read from its beginning
	previous int64     // timestamp of the entry before
}

// compareTime looks for the batch that ends at offset and compares its greatest timestamp with ts.
func (d *Dumper) compareTime(ctx context.Context, c *timeCheck, i, ts, offset int64) {
	b, why := c.find(ctx, offset)
	switch {
	case why != "":
		d.Problem(&CorruptionError{c.f.path, i * timeEntrySize, offset, why})
		return
	case b == nil:
		d.report.add(notIndexed, offset, -1)
		return
	case b.LastOffset() != offset:
		d.report.add(notIndexed, offset, b.LastOffset())
		return
	}
	greatest := int64(-1)
	err := b.Walk(0, func(r *record.Record) error {
		greatest = max(greatest, r.Timestamp(b))
		return nil
	})
	if err != nil {
		d.Problem(&CorruptionError{c.f.path, i * timeEntrySize, offset, "its batch in the .log: " + reason(err)})
		return
	}
	if greatest != ts {
		d.report.add(wrongTime, ts, greatest)
	}
	if c.previous >= ts {
		d.report.add(outOfTime, ts, c.previous)
	}
}

// find returns the first batch that ends at or behind offset, whole; nil without one, or why the log cannot be read so far.
func (c *timeCheck) find(ctx context.Context, offset int64) (record.Batch, string) {
	c.log.pos, c.log.bad = 0, ""
	if c.index != nil && offset >= c.base && offset-c.base <= math.MaxInt32 {
		n := int(c.index.size / offsetEntrySize)
		e, i, err := searchFile(c.index, n, offsetEntrySize, offset-c.base, offsetKey)
		if err != nil {
			return nil, "its .index: " + err.Error()
		}
		if i >= 0 {
			c.log.pos = min(offsetKey(e[4:]), c.log.end)
		}
	}
	for ctx.Err() == nil {
		b := c.log.header()
		if b == nil {
			break
		}
		why := readable(b)
		switch {
		case why != "":
			return nil, "on the way to it in the .log: " + why
		case b.LastOffset() >= offset:
			if b = c.log.bytes(b.Size()); b == nil {
				c.log.stop("batch cut short")
				continue // which ends it
			}
			return b, ""
		}
		c.log.pos += b.Size()
	}
	if c.log.err != nil {
		why := c.log.err.Error()
		c.log.err = nil
		return nil, why
	}
	if c.log.bad != "" {
		return nil, "on the way to it in the .log: " + c.log.bad
	}
	return nil, ""
}
