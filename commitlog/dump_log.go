package commitlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"

	"varve/commitlog/record"
)

const (
	leastHeader = 17 // bytes from the base offset to magic: Kafka takes fewer for the end of the file
	leastLength = 14 // what a batch of any format takes behind its length field, bytes
)

// dumpScan goes over the batches of a .log as Kafka's tool does: it checks lengths and nothing else.
type dumpScan struct{ batchScan }

func scanLog(f *dumpFile, end int64) *dumpScan {
	return &dumpScan{batchScan{file: f, end: min(f.size, end)}}
}

// header returns the beginning of the batch at pos, of which all bytes are there; nil at the end, or with bad or err set.
func (s *dumpScan) header() record.Batch {
	left := s.end - s.pos
	if left <= leastHeader || s.bad != "" || s.err != nil {
		return nil
	}
	b := record.Batch(s.bytes(min(record.HeaderSize, left)))
	if b == nil {
		s.stop("batch cut short")
		return nil
	}
	size := b.Size()
	if length := size - record.LogOverhead; length < leastLength {
		s.stop(fmt.Sprintf("found record size %d smaller than minimum record overhead (%d)", length, leastLength))
		return nil
	}
	if size > left {
		return nil
	}
	return b
}

// readable says why the batch of header b cannot be shown, "" if it can.
func readable(b record.Batch) string {
	switch {
	case b.Magic() != record.Magic2:
		return fmt.Sprintf("message format %d, not %d: batch of %d bytes skipped", b.Magic(), record.Magic2, b.Size())
	case b.Size() < record.HeaderSize:
		return fmt.Sprintf("batch of %d bytes without a whole header skipped", b.Size())
	}
	return ""
}

// log prints a .log.
func (d *Dumper) log(ctx context.Context, f *dumpFile) {
	d.printf("Log starting offset: %d\n", d.base(f))
	end := f.size
	if d.o.MaxBytes > 0 {
		end = d.o.MaxBytes
	}
	s := scanLog(f, end)
	last := int64(-1)
	for !d.stopped(ctx) {
		b := s.header()
		if b == nil {
			break
		}
		at, size := s.pos, b.Size()
		if why := readable(b); why != "" {
			d.Problem(&CorruptionError{f.path, at, b.BaseOffset(), why})
			s.pos += size
			continue
		}
		if b = s.bytes(size); b == nil {
			s.stop("batch cut short")
			break
		}
		d.batch(b, at)
		if d.o.Deep {
			last = d.records(f, b, at, last)
		}
		s.pos += size
	}
	switch {
	case s.err != nil:
		d.Problem(&CorruptionError{f.path, s.pos, -1, s.err.Error()})
	case s.bad != "" && d.o.MaxBytes <= 0 && onlyZeros(f, s.pos, s.end):
		d.printf("Found %d zero bytes, written ahead of the end, at the end of %s\n", s.end-s.pos, filepath.Base(f.path))
	case s.bad != "":
		d.Problem(&CorruptionError{f.path, s.pos, -1, s.bad})
	case s.pos < s.end && d.o.MaxBytes <= 0 && !d.stopped(ctx):
		d.printf("Found %d invalid bytes at the end of %s\n", s.end-s.pos, filepath.Base(f.path))
	}
}

func (d *Dumper) batch(b record.Batch, at int64) {
	horizon := int64(-1)
	if b.DeleteHorizon() {
		horizon = b.BaseTimestamp()
	}
	d.printf("baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d partitionLeaderEpoch: %d "+
		"isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: %d compresscodec: %v crc: %d isvalid: %t\n",
		b.BaseOffset(), b.LastOffset(), b.Count(), b.BaseSequence(), b.LastSequence(), b.ProducerID(), b.ProducerEpoch(), b.LeaderEpoch(),
		b.Transactional(), b.Control(), optional(horizon, b.DeleteHorizon()), at, timeType(b), b.MaxTimestamp(), b.Size(), b.Magic(), b.Codec(), b.CRC(),
		b.CheckCRC())
}

// records prints the records of b at position at and returns the offset of the last one; previous is that of the record before them.
func (d *Dumper) records(f *dumpFile, b record.Batch, at, previous int64) int64 {
	var control string
	if m, ok, err := record.ParseMarker(b); b.Control() && ok && err == nil {
		control = fmt.Sprintf(" endTxnMarker: %s coordinatorEpoch: %d", markerName(m), m.CoordinatorEpoch)
	}
	err := b.Walk(0, func(r *record.Record) error {
		if r.Offset(b) != previous+1 {
			d.report.add(gap, previous, r.Offset(b))
		}
		previous = r.Offset(b)
		if b.Control() && control == "" && len(r.Key) >= 4 {
			control = fmt.Sprintf(" controlType: UNKNOWN(%d)", int16(binary.BigEndian.Uint16(r.Key[2:])))
		}
		d.record(b, r, control)
		return nil
	})
	if err != nil {
		d.Problem(&CorruptionError{f.path, at, b.BaseOffset(), reason(err)})
	}
	return previous
}

func (d *Dumper) record(b record.Batch, r *record.Record, control string) {
	prefix := "| "
	if !d.o.SkipMetadata {
		sequence := b.BaseSequence()
		if sequence >= 0 {
			sequence = record.AddSequence(sequence, r.OffsetDelta)
		}
		d.printf("| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]%s", r.Offset(b), timeType(b), r.Timestamp(b),
			sizeOf(r.Key), sizeOf(r.Value), sequence, headerKeys(r), control)
		prefix = " "
	}
	if d.o.Data && !b.Control() {
		if r.Key != nil {
			d.printf("%skey: %s", prefix, javaText(r.Key))
			prefix = " "
		}
		if r.Value != nil {
			d.printf("%spayload: %s", prefix, javaText(r.Value))
		}
	}
	d.printf("\n")
}
