package tiering

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"varve/metadata"
)

// TestWindows: the window of a reader in order doubles to its bound; one that jumps has none; two readers of one partition do not disturb each other; all
// of them share the room, and who has gone has no share.
func TestWindows(t *testing.T) {
	s, now := newStreams(32<<20), time.Unix(1000, 0)
	tp, other := metadata.TopicPartition{Partition: 1}, metadata.TopicPartition{Partition: 2}
	for i, want := range []int{0, 1, 2, 4, 8, 8} {
		offset := int64(i) * 100
		if got := s.read(tp, offset, offset, now); got != want && i > 0 && got != s.mu.byPartition[tp][0].window {
			t.Errorf("read %d, not there yet: window %d", i, got)
		}
		if got := s.read(tp, offset, offset+100, now); got != want {
			t.Errorf("read %d: window %d, want %d", i, got, want)
		}
	}
	for i := range int64(3) {
		if got := s.read(tp, 100_000+i*5000, 100_100+i*5000, now); got != 0 {
			t.Errorf("a jump: window %d", got)
		}
	}
	if got := s.read(tp, 550, 650, now); got != 2 {
		t.Errorf("one of four streams in order: window %d, want its share, 2", got)
	}
	if got := s.read(other, 0, 10, now); got != 0 {
		t.Errorf("another partition: window %d", got)
	}
	now = now.Add(streamIdle + time.Second)
	for i, want := range []int{0, 1, 2, 4, 8} {
		if got := s.read(tp, int64(i)*100, int64(i+1)*100, now); got != want {
			t.Errorf("when the others have gone, read %d: window %d, want %d", i, got, want)
		}
	}
}

// TestStreamsAreBounded: however readers jump, few are remembered, and none when they have gone.
func TestStreamsAreBounded(t *testing.T) {
	s, now := newStreams(32<<20), time.Unix(1000, 0)
	for i := range int64(1000) {
		s.read(metadata.TopicPartition{Partition: int32(i % 2)}, i*1000, i*1000+1, now)
	}
	if s.mu.count > 2*maxStreams || len(s.mu.byPartition[metadata.TopicPartition{}]) > maxStreams {
		t.Errorf("%d streams", s.mu.count)
	}
	s.read(metadata.TopicPartition{Partition: 7}, 0, 1, now.Add(time.Minute))
	if s.mu.count != 1 || len(s.mu.byPartition) != 1 {
		t.Errorf("%d streams of %d partitions after a minute", s.mu.count, len(s.mu.byPartition))
	}
}

func chunkNo(i int) chunkKey { return chunkKey{Segment: uuid.UUID{}, Chunk: i} }

// TestChunkCacheKeepsWhatIsWanted: a chunk that has come is there until it has been read to its end, however often others are read; then the one
// that was used longest ago goes first. Without such a one a new chunk waits.
func TestChunkCacheKeepsWhatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChunkCache(16 << 20) // of chunks of 2 MiB
		const size = 2 << 20
		put := func(i int) bool {
			if !c.tryReserve(size) {
				return false
			}
			c.release(size)
			c.put(chunkNo(i), make([]byte, size))
			return true
		}
		for i := range 8 {
			put(i)
			for range 100 {
				c.get(chunkNo(i))
			}
			if i < 7 {
				c.finished(chunkNo(i))
			}
		}
		c.get(chunkNo(0))
		put(8)
		put(9)
		for i, want := range []bool{true, false, false, true, true, true, true, true, true, true} {
			if got := c.has(chunkNo(i)); got != want {
				t.Errorf("chunk %d: %v", i, got)
			}
		}
		for i := 10; i < 15; i++ {
			put(i)
		}
		if put(15) || !c.has(chunkNo(7)) {
			t.Error("a chunk that somebody is about to read gave way")
		}

		waited := make(chan error)
		go func() { waited <- c.reserve(t.Context(), size) }()
		synctest.Wait()
		c.finished(chunkNo(8))
		if err := <-waited; err != nil || c.has(chunkNo(8)) || !c.has(chunkNo(7)) {
			t.Errorf("the room of a chunk that was read: %v", err)
		}
		c.release(size)
		c.put(chunkNo(16), make([]byte, size))
		if put(17) {
			t.Error("there was room for one more")
		}
		<-time.After(wantedFor) // in the bubble: the readers have gone
		if !put(17) || c.has(chunkNo(7)) {
			t.Error("chunks whose readers have gone keep their places")
		}

		<-time.After(wantedFor)
		if !c.tryReserve(100 << 20) {
			t.Error("a chunk larger than the cache finds no room when nobody wants another")
		}
		c.release(100 << 20)
		c.put(chunkNo(30), make([]byte, 100<<20))
		if !c.has(chunkNo(30)) {
			t.Error("a chunk larger than the cache is not there for who fetched it")
		}
	})
}

// TestChunkCacheIsBounded: what is in memory and on its way is never more than the capacity, and what is on its way never more than half.
func TestChunkCacheIsBounded(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newChunkCache(64 << 20)
	var underWay []int64
	for i := range 10_000 {
		switch n := 1 + rnd.Int64N(5<<20); {
		case rnd.IntN(2) == 0:
			if c.tryReserve(n) {
				underWay = append(underWay, n)
			} else {
				c.mu.wanted.Evict() // as if its reader had gone
			}
		case len(underWay) > 0:
			c.release(underWay[0])
			c.put(chunkNo(rnd.IntN(100)), make([]byte, underWay[0]))
			underWay = underWay[1:]
		default:
			c.get(chunkNo(rnd.IntN(100)))
			c.finished(chunkNo(rnd.IntN(100)))
		}
		m := &c.mu
		if m.reserved > c.capacity/2 || m.reserved+m.wanted.Weight()+m.done.Weight() > c.capacity {
			t.Fatalf("step %d: %d bytes on their way, %d wanted, %d read, of %d", i, m.reserved, m.wanted.Weight(), m.done.Weight(), c.capacity)
		}
	}
}
