package commitlog

import (
	"slices"
	"sync"
	"sync/atomic"
)

// The tail keeps the newest bytes of segments in memory, so that whoever reads at the end of the log needs no file. The bytes lie in
// chunks of a few sizes: a quiet log holds one of 4 KiB, a busy one works its way up. All chunks of a Dir share a budget, and the oldest
// chunk of any log makes room for a new one of any other.

// chunkSizes are the sizes of chunks, bytes. The last one holds a batch of the default max.message.bytes (1 MiB + 12).
var chunkSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1<<20 + 4<<10}

var chunkPools [len(chunkSizes)]sync.Pool

// chunk holds the batches of [base, base+filled) of one segment. Its bytes below the segment's published size never change.
type chunk struct {
	owner *tail
	base  int64
	buf   []byte
	class int
	n     int          // filled bytes; the writer's
	len   atomic.Int64 // filled bytes, for readers
	refs  atomic.Int32

	// Guarded by tailCache.mu.
	prev, next *chunk
	counted    bool // in the cache's list
}

func (c *chunk) sealedLen() int { return int(c.len.Load()) }

func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		buf := c.buf
		chunkPools[c.class].Put(&buf)
	}
}

// tail is the chunks of one segment, adjacent, the newest last.
type tail struct {
	mu struct {
		sync.Mutex
		chunks  []*chunk
		dropped bool
	}
	cache *tailCache
}

// acquire returns the chunk that holds the batch at pos, or nil. The caller releases it.
func (t *tail) acquire(pos int64) *chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.findLocked(pos)
	if i < 0 {
		return nil
	}
	c := t.mu.chunks[i]
	c.refs.Add(1)
	return c
}

func (t *tail) findLocked(pos int64) int {
	for i := len(t.mu.chunks) - 1; i >= 0; i-- {
		if c := t.mu.chunks[i]; pos >= c.base {
			if pos < c.base+c.len.Load() {
				return i
			}
			return -1
		}
	}
	return -1
}

// collect adds the pieces of [pos, end) to h and acquires their chunks; false if the tail does not have all of it.
func (t *tail) collect(pos, end int64, h *holding) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.findLocked(pos)
	if i < 0 {
		return false
	}
	for ; pos < end; i++ {
		if i == len(t.mu.chunks) || len(h.pieces) == cap(h.pieces) {
			return false
		}
		c := t.mu.chunks[i]
		if pos < c.base || pos >= c.base+c.len.Load() {
			return false // one in between is being evicted
		}
		to := min(end, c.base+c.len.Load())
		c.refs.Add(1)
		h.chunks = append(h.chunks, c)
		h.pieces = append(h.pieces, Piece{Mem: c.buf[pos-c.base : to-c.base : to-c.base], Len: int(to - pos)})
		pos = to
	}
	return true
}

// append copies one or more whole batches that begin at pos. REQUIRES: the writer, before it publishes the new size.
func (t *tail) append(pos int64, b []byte) {
	if t.cache == nil {
		return
	}
	c := t.last()
	if c != nil {
		defer c.release()
	}
	if c != nil && c.base+int64(c.n) != pos { // something was too large in between
		t.clear()
		c = nil
	}
	if c == nil || c.n+len(b) > len(c.buf) {
		class := 0
		if c != nil {
			class = min(c.class+1, len(chunkSizes)-2)
		}
		for class < len(chunkSizes) && chunkSizes[class] < len(b) {
			class++
		}
		if class == len(chunkSizes) {
			t.clear()
			return
		}
		if c = t.cache.grow(t, class, pos); c == nil {
			return
		}
		defer c.release()
	}
	copy(c.buf[c.n:], b)
	c.n += len(b)
	c.len.Store(int64(c.n))
}

// last acquires the newest chunk: another log's growth may evict it at any moment.
func (t *tail) last() *chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.mu.chunks)
	if n == 0 {
		return nil
	}
	c := t.mu.chunks[n-1]
	c.refs.Add(1)
	return c
}

// clear forgets all chunks.
func (t *tail) clear() {
	t.mu.Lock()
	chunks := t.mu.chunks
	t.mu.chunks = nil
	t.mu.Unlock()
	if t.cache != nil {
		t.cache.forget(chunks)
	}
}

// drop forgets all chunks and takes no more.
func (t *tail) drop() {
	t.mu.Lock()
	t.mu.dropped = true
	t.mu.Unlock()
	t.clear()
}

// remove takes c out of the tail. A tail that was cleared meanwhile has it no longer.
func (t *tail) remove(c *chunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.mu.chunks, c); i >= 0 {
		t.mu.chunks = slices.Delete(t.mu.chunks, i, i+1)
	}
}

// tailCache is the budget that the tails of a Dir share. Its mutex is a leaf, and so is a tail's: neither is held while the other is taken.
type tailCache struct {
	limit int64
	mu    struct {
		sync.Mutex
		used           int64
		oldest, newest *chunk
	}
}

// grow gives t a new chunk at pos, acquired for the caller, and makes room for it.
func (k *tailCache) grow(t *tail, class int, pos int64) *chunk {
	c := &chunk{owner: t, base: pos, class: class}
	if buf, ok := chunkPools[class].Get().(*[]byte); ok {
		c.buf = *buf
	} else {
		c.buf = make([]byte, chunkSizes[class])
	}
	c.refs.Store(2) // the tail's and the caller's
	t.mu.Lock()
	if t.mu.dropped {
		t.mu.Unlock()
		return nil
	}
	t.mu.chunks = append(t.mu.chunks, c)
	t.mu.Unlock()
	for old := k.push(c); old != nil; {
		next := old.next
		old.next = nil
		old.owner.remove(old)
		old.release()
		old = next
	}
	return c
}

// push counts c in and returns the list of chunks that have to go for it.
func (k *tailCache) push(c *chunk) (out *chunk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.counted, c.prev = true, k.mu.newest
	if c.prev != nil {
		c.prev.next = c
	} else {
		k.mu.oldest = c
	}
	k.mu.newest = c
	k.mu.used += int64(len(c.buf))
	for k.mu.used > k.limit && k.mu.oldest != c {
		old := k.mu.oldest
		k.unlinkLocked(old)
		old.next, out = out, old
	}
	return out
}

func (k *tailCache) unlinkLocked(c *chunk) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		k.mu.oldest = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		k.mu.newest = c.prev
	}
	c.prev, c.next, c.counted = nil, nil, false
	k.mu.used -= int64(len(c.buf))
}

// forget counts chunks out that their tail no longer has. One that is being evicted is not counted any more, and released there.
func (k *tailCache) forget(chunks []*chunk) {
	for _, c := range chunks {
		k.mu.Lock()
		counted := c.counted
		if counted {
			k.unlinkLocked(c)
		}
		k.mu.Unlock()
		if counted {
			c.release()
		}
	}
}

// used returns the bytes of all chunks.
func (k *tailCache) used() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.used
}
