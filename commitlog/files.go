package commitlog

import (
	"sync"

	"varve/internal/vfs"
)

// openFiles keeps the files of active segments open between appends, a bounded number for a Dir: the rest are opened when something is written, and closed when
// it is durable. Whose turn it is to be closed is told by a clock hand: those that were written since it last came by are passed over, and those that are not
// durable always, because an error of a late write is told to who has the file open. While more than the limit are not durable there are more.
type openFiles struct {
	limit int
	mu    struct {
		sync.Mutex
		ring []keptFile
		hand int
	}
}

type keptFile struct {
	l *Log
	s *segment
}

// openFilesShare is the share of the descriptors of the process that a Dir keeps open: they are for connections and readers, too.
const openFilesShare, maxOpenFiles = 8, 4096

func newOpenFiles() *openFiles {
	return &openFiles{limit: max(min(vfs.MaxOpenFiles()/openFilesShare, maxOpenFiles), 16)}
}

// keep has s, whose file the caller has acquired, stay open. REQUIRES: the writer.
func (f *openFiles) keep(l *Log, s *segment) {
	s.used.Store(true)
	if !s.kept.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	s.mu.refs++
	s.mu.Unlock()
	f.mu.Lock()
	f.mu.ring = append(f.mu.ring, keptFile{l, s})
	f.mu.Unlock()
	f.trim()
}

// trim closes files while more than the limit are open: the writer's part when it opens one, and the syncer's when some have become durable.
func (f *openFiles) trim() {
	for _, s := range f.victims() {
		s.rest()
	}
}

// victims takes out of the ring what is to be closed.
func (f *openFiles) victims() (out []*segment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for looked := 2 * len(f.mu.ring); len(f.mu.ring) > f.limit && looked > 0; looked-- {
		ring := f.mu.ring
		f.mu.hand %= len(ring)
		at := ring[f.mu.hand]
		if at.s.kept.Load() {
			if at.s.used.Swap(false) || at.l.Durable() < at.s.end() {
				f.mu.hand++
				continue
			}
			out = append(out, at.s)
		}
		last := len(ring) - 1
		ring[f.mu.hand], ring[last] = ring[last], keptFile{}
		f.mu.ring = ring[:last]
	}
	return out
}

// rest lets the file be closed when nobody reads it. What is written next opens it again.
func (s *segment) rest() {
	if s.kept.CompareAndSwap(true, false) {
		s.release()
	}
}
