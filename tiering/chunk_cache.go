package tiering

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"varve/internal/lru"
	"varve/tiering/cache"
)

// chunkKey names a chunk of one upload attempt: what it holds never changes.
type chunkKey = cache.Key

// wantedFor is how long after its last use a chunk that nobody has read to its end keeps its place.
const wantedFor = 500 * time.Millisecond

// A chunkCache keeps chunks in memory. What is in it and what is on its way to it are at most capacity bytes together, of which at most half are
// on their way.
//
// Who fetches a chunk waits for it and comes back for it, and who reads history reads on. So a chunk is wanted until somebody has read it to its
// end, and the others go first. A cache that admits by frequency, as W-TinyLFU does, turns away a chunk that has just come in favour of one that
// has been read four times and that nobody will read again: chunks are large, so there are few, and the newcomers' window has no room for one.
//
// A wanted chunk does not give way to a new one, or many readers at once would push out each other's chunks and fetch them again and again, each for a
// part of it: the new one waits until another has been read, or was not touched for wantedFor because its reader has gone.
//
// Readers hold the bytes of chunks beyond eviction; the garbage collector knows when they are free.
type chunkCache struct {
	capacity, inFlight int64 // bytes
	room               *semaphore.Weighted

	mu struct {
		sync.Mutex
		wanted   lru.List[chunkKey, *wantedChunk]
		done     lru.List[chunkKey, []byte]
		reserved int64         // bytes on their way
		freed    chan struct{} // closed, and replaced, when there may be more room
	}
}

type wantedChunk struct {
	data []byte
	used time.Time
}

func newChunkCache(capacity int64) *chunkCache {
	capacity = max(capacity, 4*chunkTarget)
	c := &chunkCache{capacity: capacity, inFlight: capacity / 2, room: semaphore.NewWeighted(capacity / 2)}
	c.mu.freed = make(chan struct{})
	return c
}

// get returns the bytes of a chunk, which nobody may change.
func (c *chunkCache) get(k chunkKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.mu.wanted.Get(k); ok {
		w.used = time.Now()
		return w.data, true
	}
	return c.mu.done.Get(k)
}

// has reports whether a chunk is there, which is no use of it.
func (c *chunkCache) has(k chunkKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.wanted.Has(k) || c.mu.done.Has(k)
}

// finished notes that a reader has read a chunk to its end.
func (c *chunkCache) finished(k chunkKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.mu.wanted.Remove(k); ok {
		c.mu.done.Put(k, w.data, int64(len(w.data)))
		c.freedLocked()
	}
}

func (c *chunkCache) freedLocked() {
	close(c.mu.freed)
	c.mu.freed = make(chan struct{})
}

// maxRun is how many bytes more than one chunk may be on their way by one GET: half the room, with some slack because chunks are a little larger than
// chunkTarget.
func (c *chunkCache) maxRun() int64 { return c.inFlight/2 + chunkTarget/2 }

// reserve waits for room for n bytes on their way, behind those who wait already. A run of more than all the room gets all the room.
func (c *chunkCache) reserve(ctx context.Context, n int64) error {
	if err := c.room.Acquire(ctx, min(n, c.inFlight)); err != nil {
		return err
	}
	look := time.NewTicker(wantedFor / 4)
	defer look.Stop()
	for {
		ok, freed := c.makeRoom(n)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-look.C: // a reader may have gone
		case <-ctx.Done():
			c.room.Release(min(n, c.inFlight))
			return ctx.Err()
		}
	}
}

// tryReserve takes room for n bytes if there is some and nobody waits for it.
func (c *chunkCache) tryReserve(n int64) bool {
	if !c.room.TryAcquire(min(n, c.inFlight)) {
		return false
	}
	ok, _ := c.makeRoom(n)
	if !ok {
		c.room.Release(min(n, c.inFlight))
	}
	return ok
}

// makeRoom reserves n bytes if they fit beside what is wanted and on its way. If not, freed closes when to try again.
func (c *chunkCache) makeRoom(n int64) (ok bool, freed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := &c.mu; m.wanted.Weight()+m.reserved+n > c.capacity && m.wanted.Len() > 0; {
		k, w, _ := m.wanted.Oldest()
		if time.Since(w.used) < wantedFor {
			return false, m.freed
		}
		m.wanted.Remove(k)
	}
	if c.mu.reserved > 0 && c.mu.reserved+n > c.capacity {
		return false, c.mu.freed
	}
	c.mu.reserved += n
	c.evictLocked()
	return true, nil
}

// release gives back the room of n bytes, which have arrived or will not.
func (c *chunkCache) release(n int64) {
	c.mu.Lock()
	c.mu.reserved -= n
	c.freedLocked()
	c.mu.Unlock()
	c.room.Release(min(n, c.inFlight))
}

// put stores a chunk, whose bytes are the cache's from now on.
func (c *chunkCache) put(k chunkKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.done.Remove(k)
	c.mu.wanted.Put(k, &wantedChunk{data, time.Now()}, int64(len(data)))
	c.evictLocked()
}

// evictLocked drops chunks that were read until the rest fits.
func (c *chunkCache) evictLocked() {
	m := &c.mu
	for m.wanted.Weight()+m.done.Weight()+m.reserved > c.capacity && m.done.Len() > 0 {
		m.done.Evict()
	}
}
