package commitlog

import (
	"os"
	"sync"
)

// Piece is a run of batch bytes, in memory or in a file. Exactly one of Mem and File is set.
type Piece struct {
	Mem  []byte
	File *os.File // read at [Pos, Pos+Len) with an explicit offset only
	Pos  int64
	Len  int
}

// Slice is what a read returns: whole batches, the last one perhaps cut short. The holder must Release it once; until then the bytes stay,
// whatever retention does. The zero Slice is empty and needs no Release.
type Slice struct {
	Pieces []Piece
	Bytes  int
	held   *holding
}

// holding is what a Slice keeps from going away. They are pooled.
type holding struct {
	pieces []Piece
	chunks []*chunk
	s      *segment // acquired, or nil
}

// maxPieces is how many pieces of memory one Slice has at most; a longer read comes from the file.
const maxPieces = 16

var holdings = sync.Pool{New: func() any {
	return &holding{pieces: make([]Piece, 0, maxPieces), chunks: make([]*chunk, 0, maxPieces)}
}}

func (h *holding) release() {
	for _, c := range h.chunks {
		c.release()
	}
	if h.s != nil {
		h.s.release()
	}
	clear(h.pieces)
	clear(h.chunks)
	h.pieces, h.chunks, h.s = h.pieces[:0], h.chunks[:0], nil
	holdings.Put(h)
}

// Release gives the bytes back.
func (s *Slice) Release() {
	if s.held != nil {
		s.held.release()
	}
	*s = Slice{}
}

// Read returns batches from the one that contains offset, below upTo, at most maxBytes; at least one whole batch when minOne.
// OFFSET_OUT_OF_RANGE outside [LocalStart, End]. Empty at offset >= upTo. upTo must lie on a batch boundary (HW and LSO do).
// One read does not cross a segment's end. What comes from a file is checked first: no damaged batch is returned. A CorruptionError says that there is
// nothing sound at offset; the log remembers it (Damaged).
func (l *Log) Read(offset, upTo int64, maxBytes int, minOne bool) (Slice, error) {
	for {
		v := l.view.Load()
		if start, end := l.localStart(v), v.end(); offset < start || offset > end {
			return Slice{}, outOfRange(l, offset, start, end)
		}
		if offset >= upTo || maxBytes <= 0 && !minOne {
			return Slice{}, nil
		}
		s, err := l.read(v, offset, upTo, maxBytes, minOne)
		if l.retry(v, &err) {
			continue
		}
		if err != nil {
			err = l.noteDamage(err)
		}
		return s, err
	}
}

func (l *Log) read(v *view, offset, upTo int64, maxBytes int, minOne bool) (Slice, error) {
	for i := v.find(offset); i < len(v.segments) && v.segments[i].base < upTo; i++ {
		s := v.segments[i]
		tip := s.tip.Load()
		end, size := s.base+int64(tip>>32), int64(tip&0xffffffff)
		last := end // of the segment's offsets
		if i+1 < len(v.segments) {
			last = v.endOf(i)
		}
		at, found, err := s.locate(offset, size)
		if err != nil {
			return Slice{}, err
		}
		if !found || at.base > offset {
			if err := l.checkGap(s, offset, at, last, size); err != nil {
				return Slice{}, err
			}
		}
		if !found {
			continue // compaction removed the rest of this segment
		}
		whole := size
		if upTo < end {
			if size, err = s.limit(upTo, at.pos, size, int64(maxBytes)); err != nil {
				return Slice{}, err
			}
		}
		n := size - at.pos
		if n <= 0 {
			return Slice{}, nil
		}
		if most := int64(maxBytes); most < n {
			if n = most; minOne {
				n = max(n, at.length)
			}
		}
		if n <= 0 {
			return Slice{}, nil
		}
		return l.slice(s, at.pos, n, last, whole)
	}
	return Slice{}, nil
}

// limit returns the position of upTo, or any position beyond what the read takes.
func (s *segment) limit(upTo, pos, size, maxBytes int64) (int64, error) {
	if below, err := s.floor(upTo); err != nil || below >= pos+maxBytes {
		return below, err
	}
	at, _, err := s.locate(upTo, size)
	return at.pos, err
}

// slice takes n bytes at pos out of the tail, or else out of the file, where it takes fewer if there is damage behind the first batch. end and size: of the
// segment.
func (l *Log) slice(s *segment, pos, n, end, size int64) (Slice, error) {
	h := holdings.Get().(*holding)
	if s.tail.collect(pos, pos+n, h) {
		return Slice{Pieces: h.pieces, Bytes: int(n), held: h}, nil
	}
	for _, c := range h.chunks { // part of it was there
		c.release()
	}
	clear(h.chunks)
	h.pieces, h.chunks = h.pieces[:0], h.chunks[:0]
	file, err := s.acquire()
	if err != nil {
		h.release()
		return Slice{}, err
	}
	h.s = s
	v := l.verifier(s, file, end, size)
	good, err := v.check(pos, n)
	v.release()
	if err != nil && good == 0 {
		h.release()
		return Slice{}, err
	}
	if err != nil {
		n = good
	}
	h.pieces = append(h.pieces, Piece{File: file.OS(), Pos: pos, Len: int(n)})
	return Slice{Pieces: h.pieces, Bytes: int(n), held: h}, nil
}
