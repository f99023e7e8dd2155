package tiering

import (
	"sync"

	"varve/metadata"
)

// maxWindow is how many chunks are fetched ahead of a sequential reader at most.
const maxWindow = 6

// A stream is where readers of one partition are: a read at or right behind the last one is sequential, and each one that moves on doubles the
// window up to maxWindow; any other read starts anew.
type stream struct {
	mu struct {
		sync.Mutex
		segment int64 // first offset of the segment read last
		chunk   int
		window  int
	}
}

// moved notes a read and returns how many chunks to fetch ahead of it.
func (s *stream) moved(segment int64, chunk int, startOfNext bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.mu
	switch {
	case segment == m.segment && chunk == m.chunk:
	case segment == m.segment && chunk > m.chunk && chunk <= m.chunk+maxWindow, segment > m.segment && startOfNext:
		m.window = min(max(2*m.window, 2), maxWindow)
	default:
		m.window = 1
	}
	m.segment, m.chunk = segment, chunk
	return m.window
}

// readAhead begins to fetch what a sequential reader at chunk c of segment i will want next, across segments.
func (r *Reader) readAhead(tp metadata.TopicPartition, rows []metadata.RemoteSegment, i int, table *Bundle, c int) {
	s, _ := r.streams.ComputeIfAbsent(tp, func() (*stream, bool) { return &stream{}, false })
	for window := s.moved(rows[i].BaseOffset, c, c == 0); window > 0; window-- {
		if c++; c == len(table.Chunks) {
			if i++; i == len(rows) {
				return
			}
			next, _, err := r.table(&rows[i]) // begins to fetch it
			if next == nil || err != nil {
				return
			}
			table, c = next, 0
			if len(table.Chunks) == 0 {
				return
			}
		}
		if _, ok := r.chunks.GetIfPresent(chunkKey{rows[i].ID, c}); !ok {
			_, _ = r.startChunk(&rows[i], table.Chunks[c], c, true) // whoever reads it sees the error
		}
	}
}
