package tiering

import (
	"sync"
	"time"

	"varve/metadata"
)

const (
	// maxWindow is how many chunks are fetched ahead of a sequential reader at most.
	maxWindow = 8
	// maxRun is how many chunks one GET brings at most: 16 MiB, a quarter of the requests that chunks alone would take.
	maxRun = 4
	// maxStreams is how many readers of one partition are told apart.
	maxStreams = 8
	// streamIdle is how long after its last read a stream has a share of the memory.
	streamIdle = 5 * time.Second
)

// streams knows who reads history in order. A read that begins within what another one returned, or at its end, goes on with that one's stream: its
// window, the number of chunks to fetch ahead, doubles whenever it has moved on. Windows share the room that chunks on their way have, so that
// many readers do not push out of memory what was fetched for each other.
type streams struct {
	room int64 // bytes for all windows

	mu struct {
		sync.Mutex
		byPartition map[metadata.TopicPartition][]*stream
		count       int
		swept       time.Time
	}
}

type stream struct {
	from, to int64 // offsets of the last read: where it began, and behind its last batch
	window   int
	used     time.Time
}

func newStreams(room int64) *streams {
	s := &streams{room: room}
	s.mu.byPartition = map[metadata.TopicPartition][]*stream{}
	return s
}

// read notes a read at offset and returns how many chunks to fetch ahead of it. to is the end of what the reader finds there, offset when it finds
// nothing yet.
func (s *streams) read(tp metadata.TopicPartition, offset, to int64, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	st := s.findLocked(tp, offset)
	if offset > st.from && st.to >= offset {
		st.window = max(2*st.window, 1)
	}
	st.from, st.to, st.used = offset, max(to, offset), now
	st.window = min(st.window, maxWindow, int(s.room/int64(s.mu.count)/chunkTarget))
	return st.window
}

// findLocked returns the stream that a read at offset belongs to: an old one, or a new one in place of the one that has been idle for longest.
func (s *streams) findLocked(tp metadata.TopicPartition, offset int64) *stream {
	list := s.mu.byPartition[tp]
	var idlest *stream
	for _, st := range list {
		if st.from <= offset && offset <= st.to {
			return st
		}
		if idlest == nil || st.used.Before(idlest.used) {
			idlest = st
		}
	}
	fresh := stream{from: offset, to: offset}
	if len(list) >= maxStreams {
		*idlest = fresh
		return idlest
	}
	s.mu.byPartition[tp] = append(list, &fresh)
	s.mu.count++
	return &fresh
}

// sweepLocked forgets idle streams, now and then.
func (s *streams) sweepLocked(now time.Time) {
	if now.Sub(s.mu.swept) < streamIdle/5 {
		return
	}
	s.mu.swept, s.mu.count = now, 0
	for tp, list := range s.mu.byPartition {
		kept := list[:0]
		for _, st := range list {
			if now.Sub(st.used) <= streamIdle {
				kept = append(kept, st)
			}
		}
		if s.mu.count += len(kept); len(kept) == 0 {
			delete(s.mu.byPartition, tp)
			continue
		}
		clear(list[len(kept):])
		s.mu.byPartition[tp] = kept
	}
}

// A place is a chunk of a segment of a partition.
type place struct {
	rows  []metadata.RemoteSegment
	i     int // in rows
	table *Bundle
	chunk int
}

func (p *place) row() *metadata.RemoteSegment { return &p.rows[p.i] }
func (p *place) key() chunkKey                { return chunkKey{Segment: p.rows[p.i].ID, Chunk: p.chunk} }

// next moves p to the chunk behind it, into the next segment if it must. ok is false at the end of history, and where the next table is not in
// memory: then wait or err is as of Reader.table, which has begun to fetch it.
func (r *Reader) next(p *place) (ok bool, wait <-chan struct{}, err error) {
	p.chunk++
	for p.chunk >= len(p.table.Chunks) {
		if p.i+1 == len(p.rows) {
			return false, nil, nil
		}
		t, wait, err := r.table(&p.rows[p.i+1])
		if wait != nil || err != nil {
			return false, wait, err
		}
		p.i, p.table, p.chunk = p.i+1, t, 0
	}
	return true, nil, nil
}

// prefetch begins to fetch what is missing in the window of chunks behind p, when that is half of the window or more: so that one GET brings
// several chunks.
func (r *Reader) prefetch(p place, window int) {
	for n := 1; n <= window; n++ {
		if ok, _, _ := r.next(&p); !ok {
			return // whoever reads there sees why
		}
		if r.chunks.has(p.key()) || r.chunkGets.underWay(p.key()) {
			continue
		}
		if n > (window+1)/2 && n > 1 {
			return
		}
		run := r.runFrom(&p, window-n+1)
		started := 0
		if bytes := sizeOf(run); r.chunks.tryReserve(bytes) {
			started, _, _ = r.startRun(&p, run, true)
			r.chunks.release(bytes - sizeOf(run[:started]))
		}
		if started == 0 {
			return // there is no room, or another reader was faster
		}
		p.chunk, n = p.chunk+started-1, n+started-1
	}
}

// runFrom returns up to n chunks from p on, of its segment, that are neither in memory nor under way.
func (r *Reader) runFrom(p *place, n int) []Chunk {
	rest := p.table.Chunks[p.chunk:]
	end, bytes := 1, int64(rest[0].Length)
	for at := *p; end < min(n, maxRun, len(rest)); end++ {
		at.chunk++
		if bytes += int64(rest[end].Length); bytes > r.chunks.maxRun() || r.chunks.has(at.key()) || r.chunkGets.underWay(at.key()) {
			break
		}
	}
	return rest[:end]
}

func sizeOf(run []Chunk) (bytes int64) {
	for i := range run {
		bytes += int64(run[i].Length)
	}
	return bytes
}
