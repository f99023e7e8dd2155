package commitlog

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// syncWorkers is how many files of a Dir are made durable at the same time (docs/design/0001-group-commit.md).
const syncWorkers = 8

// syncer is the group commit of a Dir: one goroutine that drains the set of logs with news, makes their files durable, publishes their
// durable ends and tells their owners. Appends during a sync join the next one. While nothing waits it makes no system call.
type syncer struct {
	d    *Dir
	wake chan struct{} // holds one token while there may be something to do
	done chan struct{}
	mu   struct {
		sync.Mutex
		dirty  []*Log // each once: Log.sync.queued
		closed bool
	}
	told bool // Failed was called
}

func newSyncer(d *Dir) *syncer {
	return &syncer{d: d, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// enqueue says that l has something to make durable.
func (s *syncer) enqueue(l *Log) {
	if !l.sync.queued.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	s.mu.dirty = append(s.mu.dirty, l)
	s.mu.Unlock()
	s.nudge()
}

func (s *syncer) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the logs with news and gives spare as room for the next ones.
func (s *syncer) take(spare []*Log) (dirty []*Log, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty, s.mu.dirty = s.mu.dirty, spare[:0]
	return dirty, s.mu.closed
}

func (s *syncer) run() {
	defer close(s.done)
	var spare []*Log
	for range s.wake {
		dirty, closed := s.take(spare)
		s.round(dirty)
		s.tellFailure()
		clear(dirty)
		spare = dirty
		if closed {
			return
		}
	}
}

// close waits for the rounds that were asked for.
func (s *syncer) close() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.nudge()
	<-s.done
}

func (s *syncer) round(dirty []*Log) {
	if len(dirty) == 0 {
		return
	}
	start := time.Now()
	if len(dirty) == 1 {
		s.commit(dirty[0])
	} else {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range min(len(dirty), syncWorkers) {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(dirty)); i = next.Add(1) - 1 {
					s.commit(dirty[i])
				}
			})
		}
		wg.Wait()
	}
	s.d.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	s.d.metrics.syncLogs.Observe(float64(len(dirty)))
}

// commit makes one log durable and publishes it. Whatever is appended from here on queues the log again.
func (s *syncer) commit(l *Log) {
	l.sync.queued.Store(false)
	if s.d.failure() != nil {
		return // never again: pages of a failed fsync may count as clean
	}
	end, generation, err := l.persist()
	if errors.Is(err, errDropped) {
		return // truncated or removed meanwhile; whoever did it queued the log again if anything is left
	}
	if err != nil && noSpace(err) { // nothing is lost: it becomes durable when there is space
		s.d.keeper.syncLater(l)
		return
	}
	if err != nil {
		s.d.fail(err)
		return
	}
	l.setDurable(end, generation)
	if l.grown != nil && l.told.Swap(l.Durable()) != l.Durable() {
		l.grown(l.Durable())
	}
}

func (s *syncer) tellFailure() {
	err := s.d.failure()
	if err == nil || s.told {
		return
	}
	s.told = true
	s.d.logger.Error("log directory failed: its partitions take no more writes until the broker is restarted", "dir", s.d.path, "error", err)
	if s.d.failed != nil {
		s.d.failed(err)
	}
}

// persist makes everything durable that the log has at this moment and returns where that ends. Only the syncer calls it, and Close.
func (l *Log) persist() (end int64, generation int, err error) {
	l.sync.mu.Lock()
	generation = l.sync.mu.generation
	l.sync.mu.Unlock()
	active := l.view.Load().active()
	end = active.end() // sampled first: a segment that is rolled after this is in rolled when it is taken below
	if err := l.persistEpochs(); err != nil {
		return 0, 0, err
	}
	l.sync.mu.Lock()
	rolled, newNames := l.sync.mu.rolled, l.sync.mu.newNames
	l.sync.mu.rolled, l.sync.mu.newNames = nil, false
	l.sync.mu.Unlock()
	if l.dir.durability == Async {
		return end, generation, nil
	}
	if newNames {
		if err := l.dir.syncNames(l); err != nil {
			return 0, 0, err
		}
	}
	for _, s := range rolled {
		if err := s.sync(); err != nil && !errors.Is(err, errDropped) {
			return 0, 0, err
		}
	}
	return end, generation, active.sync()
}

// persistEpochs writes leader-epoch-checkpoint if it is out of date. The name is made durable with the other new ones.
func (l *Log) persistEpochs() error {
	entries, dirty := l.epochs.takeDirty()
	if !dirty {
		return nil
	}
	if err := l.dir.fs.WriteFile(l.epochsPath(), encodeEpochs(entries), false); err != nil {
		l.epochs.markDirty()
		if l.closed.Load() && errors.Is(err, fs.ErrNotExist) {
			return errDropped
		}
		return storageError("writing leader epochs", err)
	}
	l.newNames()
	return nil
}

// sync makes the bytes of the .log durable.
func (s *segment) sync() error {
	file, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	if err := file.Sync(); err != nil {
		return storageError("syncing "+s.path(logSuffix), err)
	}
	return nil
}
