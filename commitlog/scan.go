package commitlog

import (
	"errors"
	"io"
	"sync"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// windowSize is what a header scan reads at once: with the default index interval one read finds any small batch.
const windowSize = 8 << 10

var windows = sync.Pool{New: func() any { b := make([]byte, windowSize); return &b }}

// headerScan walks over the batch headers of a segment in [pos, end), in memory where the tail has them, else with few reads. The
// zero value plus s, pos and end is ready; close it. It does not check CRCs.
type headerScan struct {
	s        *segment
	pos, end int64 // the next batch, the limit

	batch record.Batch // the current header (and more), valid until the next call
	at    int64        // its position
	err   error

	chunk  *chunk    // acquired, covers the current position
	file   *vfs.File // acquired
	window *[]byte   // bytes of the file from windowAt
	filled int
	winAt  int64
}

// next goes to the next batch; false at the end or with err set.
func (h *headerScan) next() bool {
	if h.err != nil || h.pos >= h.end {
		return false
	}
	if h.pos+record.HeaderSize > h.end {
		return h.corrupt("header cut short")
	}
	header, err := h.header()
	if err != nil {
		h.err = err
		return false
	}
	h.batch, h.at = header, h.pos
	size := header.Size()
	if size < record.HeaderSize || size > h.end-h.pos {
		return h.corrupt("batch length does not fit")
	}
	h.pos += size
	return true
}

func (h *headerScan) corrupt(reason string) bool {
	h.err = &CorruptionError{h.s.path(logSuffix), h.pos, -1, reason}
	return false
}

func (h *headerScan) header() (record.Batch, error) {
	if h.chunk == nil || h.pos >= h.chunk.base+int64(h.chunk.sealedLen()) {
		if h.chunk != nil {
			h.chunk.release()
		}
		h.chunk = h.s.tail.acquire(h.pos)
	}
	if h.chunk != nil {
		return record.Batch(h.chunk.buf[h.pos-h.chunk.base:]), nil
	}
	if i := h.pos - h.winAt; h.window != nil && i >= 0 && i+record.HeaderSize <= int64(h.filled) {
		return record.Batch((*h.window)[i:h.filled]), nil
	}
	return h.read()
}

func (h *headerScan) read() (record.Batch, error) {
	if h.file == nil {
		file, err := h.s.acquire()
		if err != nil {
			return nil, err
		}
		h.file, h.window = file, windows.Get().(*[]byte)
	}
	n := min(int64(windowSize), h.end-h.pos)
	got, err := h.file.ReadAt((*h.window)[:n], h.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &CorruptionError{h.s.path(logSuffix), h.pos, -1, cannotRead(err).Error()}
	}
	if h.filled, h.winAt = got, h.pos; got < record.HeaderSize {
		return nil, &CorruptionError{h.s.path(logSuffix), h.pos, -1, cannotRead(nil).Error()}
	}
	return record.Batch((*h.window)[:got]), nil
}

func (h *headerScan) close() {
	if h.chunk != nil {
		h.chunk.release()
	}
	if h.file != nil {
		h.s.release()
		windows.Put(h.window)
	}
	h.chunk, h.file = nil, nil
}

// batchScan reads whole batches of a .log in [pos, end) and checks them: recovery's reader.
type batchScan struct {
	file io.ReaderAt
	pos  int64 // after next: behind the current batch
	end  int64

	batch record.Batch // valid until the next call
	bad   string       // why the scan stopped before end: damage
	err   error        // the disk failed

	buf    []byte
	bufAt  int64
	filled int
}

// scanBuffer is what recovery reads at once, bytes.
const scanBuffer = 1 << 20

// next goes to the next valid batch.
func (s *batchScan) next() bool {
	if s.pos >= s.end || s.bad != "" || s.err != nil {
		return false
	}
	header := s.bytes(record.HeaderSize)
	if header == nil {
		return s.stop("header cut short")
	}
	size := record.Batch(header).Size()
	if size < record.HeaderSize || size > s.end-s.pos {
		return s.stop("batch length does not fit")
	}
	b := record.Batch(s.bytes(size))
	switch {
	case b == nil:
		return s.stop("batch cut short")
	case b.Magic() != record.Magic2:
		return s.stop("unknown message format")
	case !b.CheckCRC():
		return s.stop("CRC does not match")
	case b.LastOffsetDelta() < 0 || b.BaseOffset() < 0:
		return s.stop("offsets run backwards")
	}
	s.batch = b
	s.pos += size
	return true
}

func (s *batchScan) stop(why string) bool {
	if s.err == nil {
		s.bad = why
	}
	return false
}

// bytes returns n bytes at pos, nil when the file does not have them. n is at most the size of the file.
func (s *batchScan) bytes(n int64) []byte {
	if i := s.pos - s.bufAt; s.buf != nil && i >= 0 && i+n <= int64(s.filled) {
		return s.buf[i : i+n : i+n]
	}
	if n > s.end-s.pos {
		return nil
	}
	if want := max(n, min(scanBuffer, s.end)); int64(len(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	got, err := s.file.ReadAt(s.buf[:min(int64(len(s.buf)), s.end-s.pos)], s.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
		return nil
	}
	s.bufAt, s.filled = s.pos, got
	if int64(got) < n {
		return nil
	}
	return s.buf[:n:n]
}
