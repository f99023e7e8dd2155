package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"varve/commitlog/record"
)

// A verifier checks the batches of a .log file against what is known of them, before their bytes are sent by reference and without keeping them: length,
// format, CRC, and the fields that no CRC covers: leader epochs by the epoch cache, base offsets by the batches around them. It reads through a buffer that
// stays in the processor's cache, which costs a fraction of what sending costs.
type verifier struct {
	file    io.ReaderAt
	segment *segment
	end     int64 // of the segment: no offset lies at or above it
	size    int64 // bytes of the segment
	epochs  *epochCache

	window [verifyWindow]byte // bytes of the file from winAt
	winAt  int64
	filled int
}

// verifyWindow is how much a verifier reads at once, bytes: it fits into a second-level cache.
const verifyWindow = 64 << 10

var verifiers = sync.Pool{New: func() any { return new(verifier) }}

// verifier returns one for the file of s; release gives it back.
func (l *Log) verifier(s *segment, file io.ReaderAt, end, size int64) *verifier {
	v := verifiers.Get().(*verifier)
	v.file, v.segment, v.end, v.size, v.epochs, v.filled = file, s, end, size, &l.epochs, 0
	return v
}

func (v *verifier) release() {
	v.file, v.segment, v.epochs = nil, nil, nil
	verifiers.Put(v)
}

// check looks at the whole batches of [pos, pos+n) and returns how many of these bytes are sound batches in front of the first that is damaged. A batch that
// is cut short by the end of the range is not looked at, and not counted.
func (v *verifier) check(pos, n int64) (good int64, damage error) {
	next := v.segment.base // the least base offset that the batch may have
	for at := pos; ; {
		if at >= v.size {
			return at - pos, nil
		}
		header, err := v.bytes(at, record.HeaderSize)
		if err != nil {
			return at - pos, v.damaged(at, err.Error())
		}
		b := record.Batch(header)
		length, first, last := b.Size(), b.BaseOffset(), b.LastOffset()
		if first < next { // one of the two is wrong: neither is sound
			if at == pos || first < v.segment.base {
				return at - pos, v.damaged(at, "its base offset lies below the end of the batch before it")
			}
			return good, v.damaged(pos+good, "its offsets overlap those of the batch behind it")
		}
		switch {
		case at >= pos+n: // only the one in front was of interest
			return at - pos, nil
		case length < record.HeaderSize || length > v.size-at:
			return at - pos, v.damaged(at, "batch length does not fit")
		case b.Magic() != record.Magic2:
			return at - pos, v.damaged(at, "unknown message format")
		case last < first || last >= v.end:
			return at - pos, v.damaged(at, "its offsets do not lie within the segment")
		case at+length > pos+n:
			return at - pos, nil
		}
		if epoch := v.epochs.at(first); epoch >= 0 && epoch != b.LeaderEpoch() {
			return at - pos, v.damaged(at, fmt.Sprintf("leader epoch %d, %d in the history", b.LeaderEpoch(), epoch))
		}
		want := b.CRC()
		sum, err := v.sum(at+record.ChecksummedFrom, at+length)
		if err != nil {
			return at - pos, v.damaged(at, err.Error())
		}
		if sum != want {
			return at - pos, v.damaged(at, "CRC does not match")
		}
		good, next = at-pos, last+1
		at += length
	}
}

// checkGap makes sure that a segment does not have offset, and that the batch at at, or the segment's end, follows: a damaged header must not look as if compaction had
// been there. Batches are checked from the index entry before the one that led there, so that each has one before it.
func (l *Log) checkGap(s *segment, offset int64, at located, end, size int64) error {
	start, err := s.floor(offset)
	if err != nil {
		return err
	}
	if start > 0 {
		h := headerScan{s: s, pos: start, end: size}
		defer h.close()
		if h.next() {
			offset = h.batch.LastOffset() // that of the index entry
		}
		before, err := s.floor(offset - 1)
		if err != nil {
			return err
		}
		start = min(start, before)
	}
	file, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	v := l.verifier(s, file, end, size)
	defer v.release()
	_, err = v.check(start, at.pos+at.length-start)
	return err
}

// bytes returns n bytes at pos, valid until the next call; n is at most the window.
func (v *verifier) bytes(pos int64, n int) ([]byte, error) {
	if i := pos - v.winAt; i >= 0 && i+int64(n) <= int64(v.filled) {
		return v.window[i : i+int64(n)], nil
	}
	most := min(verifyWindow, v.size-pos)
	if most < int64(n) {
		return nil, errors.New("batch cut short")
	}
	got, err := v.file.ReadAt(v.window[:most], pos)
	if v.winAt, v.filled = pos, got; got < n {
		return nil, cannotRead(err)
	}
	return v.window[:n], nil
}

// sum returns the CRC-32C of [from, to).
func (v *verifier) sum(from, to int64) (sum uint32, err error) {
	for from < to {
		i := from - v.winAt
		if i < 0 || i >= int64(v.filled) {
			got, err := v.file.ReadAt(v.window[:min(verifyWindow, v.size-from)], from)
			if v.winAt, v.filled = from, got; got == 0 {
				return 0, cannotRead(err)
			}
			i = 0
		}
		part := v.window[i:min(int64(v.filled), i+to-from)]
		sum = crc32.Update(sum, castagnoli, part)
		from += int64(len(part))
	}
	return sum, nil
}

func cannotRead(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New("file ends early")
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // the path is said once
	}
	return fmt.Errorf("the disk does not give it back: %w", err)
}

func (v *verifier) damaged(at int64, why string) error {
	offset := int64(-1)
	if b, err := v.bytes(at, 8); err == nil {
		offset = int64(binary.BigEndian.Uint64(b))
	}
	return &CorruptionError{v.segment.path(logSuffix), at, offset, why}
}
