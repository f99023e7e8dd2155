package group

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

const (
	// commitLinger is how long an offset commit waits for others to share its transaction.
	commitLinger = 5 * time.Millisecond
	// maxBatch is the number of offsets from which a transaction waits no longer.
	maxBatch = 1000
	// maxFlushes bounds the transactions of offset commits at one time, of all shards: below the connections that a broker
	// has, so that commits gather while they wait for their turn, and what else is written finds a connection.
	maxFlushes = 2
	// maxQueued bounds the offsets and other writes that wait for Postgres, per shard. What is beyond is refused.
	maxQueued = 50_000
	// retryPause is how often a store that is away is asked again.
	retryPause = 200 * time.Millisecond
)

// op is one write: exactly one of commit, save, trim, and remove.
type op struct {
	commit *commit
	save   *saveEffect
	trim   *trimming
	remove bool
	group  string
}

// commit is an accepted OffsetCommit request on its way into Postgres.
type commit struct {
	offsets  []metadata.OffsetCommit
	answer   chan<- any
	accepted time.Time
	deadline time.Time // offsets.commit.timeout.ms
}

func (o op) size() int {
	if o.commit != nil {
		return max(len(o.commit.offsets), 1)
	}
	return 1
}

// writer does the writes of a shard under one epoch, one at a time and in order. Its goroutine lives only while there
// is something to write.
type writer struct {
	c            *Coordinator
	shard, epoch int32
	done         func(group string, result any) // called for a savedEvent or deletedEvent

	mu struct {
		sync.Mutex
		queue   []op
		queued  int // sum of their sizes
		running bool
	}
}

// add takes a write; false: there are too many.
func (w *writer) add(o op) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.queued+o.size() > maxQueued {
		return false
	}
	w.mu.queue = append(w.mu.queue, o)
	w.mu.queued += o.size()
	if !w.mu.running {
		w.mu.running = true
		w.c.work.Go(w.drain)
	}
	return true
}

func (w *writer) drain() {
	for {
		o, ok := w.next()
		if !ok {
			return
		}
		switch {
		case o.commit != nil:
			batch := w.batch(o.commit)
			w.c.flushes <- struct{}{}
			w.flush(w.gather(batch))
			<-w.c.flushes
		case o.save != nil:
			err := w.write(func(ctx context.Context) error { return w.c.cfg.Store.SaveGroup(ctx, w.epoch, o.save.state) })
			w.done(o.group, savedEvent{o.save.id, err})
		case o.trim != nil:
			w.trim(o.group, o.trim)
		default:
			err := w.write(func(ctx context.Context) error {
				return w.c.cfg.Store.DeleteGroups(ctx, w.epoch, w.shard, []string{o.group})
			})
			w.done(o.group, deletedEvent{err})
		}
	}
}

func (w *writer) next() (op, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mu.queue) == 0 {
		w.mu.queue, w.mu.running = nil, false
		return op{}, false
	}
	return w.popLocked(), true
}

func (w *writer) popLocked() op {
	o := w.mu.queue[0]
	w.mu.queue[0] = op{}
	w.mu.queue = w.mu.queue[1:]
	w.mu.queued -= o.size()
	return o
}

// batch adds to the first commit those that come right behind it, within the linger time.
func (w *writer) batch(first *commit) []*commit {
	batch := w.gather([]*commit{first})
	if wait := time.Until(first.accepted.Add(commitLinger)); wait > 0 && !w.full(batch) {
		w.c.pause(wait)
		batch = w.gather(batch)
	}
	return batch
}

// gather adds to a batch the commits that wait right behind it.
func (w *writer) gather(batch []*commit) []*commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	for size := offsetsOf(batch); size < maxBatch && len(w.mu.queue) > 0 && w.mu.queue[0].commit != nil; {
		c := w.popLocked().commit
		batch, size = append(batch, c), size+len(c.offsets)
	}
	return batch
}

// full reports whether nothing will be added to a batch.
func (w *writer) full(batch []*commit) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return offsetsOf(batch) >= maxBatch || len(w.mu.queue) > 0
}

func offsetsOf(batch []*commit) int {
	n := 0
	for _, c := range batch {
		n += len(c.offsets)
	}
	return n
}

// flush writes a batch, trying again while the store is away until the commits' time is over. Then their clients hear
// COORDINATOR_NOT_AVAILABLE and commit again. The caller holds a place among the flushes.
func (w *writer) flush(batch []*commit) {
	for {
		now := time.Now()
		var live []*commit
		var offsets []metadata.OffsetCommit
		for _, c := range batch {
			if now.After(c.deadline) || w.c.ctx.Err() != nil {
				w.answer(c, kerr.CoordinatorNotAvailable)
				continue
			}
			live, offsets = append(live, c), append(offsets, c.offsets...)
		}
		if len(live) == 0 {
			return
		}
		ctx, cancel := context.WithDeadline(w.c.ctx, live[len(live)-1].deadline)
		err := w.c.observed(w.c.cfg.Store.CommitOffsets(ctx, w.shard, w.epoch, offsets))
		cancel()
		if !unavailable(err) {
			w.c.metrics.commitBatch.Observe(float64(len(offsets)))
			for _, c := range live {
				w.answer(c, w.c.code(err))
			}
			return
		}
		batch = live
		<-w.c.flushes // others find out for themselves
		w.c.pause(retryPause)
		w.c.flushes <- struct{}{}
	}
}

func (w *writer) answer(c *commit, err *kerr.Error) {
	w.c.metrics.commits.Observe(time.Since(c.accepted).Seconds())
	c.answer <- err
}

// write tries once: who waits for it is a client that had better ask again than wait.
func (w *writer) write(f func(context.Context) error) *kerr.Error {
	ctx, cancel := context.WithTimeout(w.c.ctx, w.c.cfg.CommitTimeout)
	defer cancel()
	return w.c.code(w.c.observed(f(ctx)))
}
