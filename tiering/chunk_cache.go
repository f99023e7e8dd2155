package tiering

import (
	"context"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"
)

// chunkKey names a chunk of one upload attempt: what it holds never changes.
type chunkKey struct {
	segment uuid.UUID
	chunk   int
}

// A chunkCache keeps chunks in memory. What is in it and what is on its way to it are at most capacity bytes together, of which at most half are
// on their way.
//
// Who fetches a chunk waits for it and comes back for it, and who reads history reads on. So a chunk is wanted until somebody has read it to its
// end, and the others go first. A cache that admits by frequency, as W-TinyLFU does, turns away a chunk that has just come in favour of one that
// has been read four times and that nobody will read again: chunks are large, so there are few, and the newcomers' window has no room for one.
// Wanted chunks whose reader went away go when they are more than three quarters.
//
// Readers hold the bytes of chunks beyond eviction; the garbage collector knows when they are free.
type chunkCache struct {
	capacity, inFlight int64 // bytes
	room               *semaphore.Weighted

	mu struct {
		sync.Mutex
		wanted, done lru[chunkKey, []byte]
		reserved     int64 // bytes on their way
	}
}

func newChunkCache(capacity int64) *chunkCache {
	capacity = max(capacity, 4*chunkTarget)
	return &chunkCache{capacity: capacity, inFlight: capacity / 2, room: semaphore.NewWeighted(capacity / 2)}
}

// get returns the bytes of a chunk, which nobody may change.
func (c *chunkCache) get(k chunkKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data, ok := c.mu.wanted.get(k); ok {
		return data, true
	}
	return c.mu.done.get(k)
}

// has reports whether a chunk is there, which is no use of it.
func (c *chunkCache) has(k chunkKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.wanted.has(k) || c.mu.done.has(k)
}

// finished notes that a reader has read a chunk to its end.
func (c *chunkCache) finished(k chunkKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data, ok := c.mu.wanted.remove(k); ok {
		c.mu.done.put(k, data, int64(len(data)))
	}
}

// maxRun is how many bytes more than one chunk may be on their way by one GET: half the room, with some slack because chunks are a little larger than
// chunkTarget.
func (c *chunkCache) maxRun() int64 { return c.inFlight/2 + chunkTarget/2 }

// reserve waits for room for n bytes on their way, behind those who wait already. A run of more than all the room gets all the room.
func (c *chunkCache) reserve(ctx context.Context, n int64) error {
	if err := c.room.Acquire(ctx, min(n, c.inFlight)); err != nil {
		return err
	}
	c.reserved(n)
	return nil
}

// tryReserve takes room for n bytes if there is some and nobody waits for it.
func (c *chunkCache) tryReserve(n int64) bool {
	if !c.room.TryAcquire(min(n, c.inFlight)) {
		return false
	}
	c.reserved(n)
	return true
}

func (c *chunkCache) reserved(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.reserved += n
	c.evictLocked()
}

// release gives back the room of n bytes, which have arrived or will not.
func (c *chunkCache) release(n int64) {
	c.mu.Lock()
	c.mu.reserved -= n
	c.mu.Unlock()
	c.room.Release(min(n, c.inFlight))
}

// put stores a chunk, whose bytes are the cache's from now on.
func (c *chunkCache) put(k chunkKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.done.remove(k)
	c.mu.wanted.put(k, data, int64(len(data)))
	c.evictLocked()
}

func (c *chunkCache) evictLocked() {
	m := &c.mu
	for m.wanted.weight+m.done.weight+m.reserved > c.capacity && m.wanted.len()+m.done.len() > 1 {
		if m.done.len() == 0 || m.wanted.weight > c.capacity/4*3 && m.wanted.len() > 1 {
			m.wanted.evict()
		} else {
			m.done.evict()
		}
	}
}
