package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"varve/internal/vfs"
)

// See docs/design/0001-group-commit.md for the measurements behind these.
const (
	syncWorkers = 8 // files of a Dir that are made durable at the same time
	wholeFrom   = 8 // dirty logs from which making the whole file system durable may be quicker
)

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
	cost syncCost
}

func newSyncer(d *Dir) *syncer {
	s := &syncer{d: d, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if vfs.SyncAllReports() {
		s.cost.from = wholeFrom
	}
	return s
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

// inParallel calls f for 0 to n-1, syncWorkers at a time, and waits.
func inParallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, syncWorkers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

func (s *syncer) round(dirty []*Log) {
	if len(dirty) == 0 {
		return
	}
	start := time.Now()
	whole := s.d.durability == Fsync && s.cost.wholeIsQuicker(len(dirty))
	switch {
	case whole:
		s.commitAll(dirty)
	case len(dirty) == 1:
		s.commit(dirty[0])
	default:
		inParallel(len(dirty), func(i int) { s.commit(dirty[i]) })
	}
	s.d.files.trim()
	took := time.Since(start)
	s.cost.learn(whole, len(dirty), took)
	s.d.metrics.syncSeconds.Observe(took.Seconds())
	s.d.metrics.syncLogs.Observe(float64(len(dirty)))
}

// commit makes one log durable and publishes it. Whatever is appended from here on queues the log again.
func (s *syncer) commit(l *Log) {
	l.sync.queued.Store(false)
	if s.d.Failure() != nil {
		return // never again: pages of a failed fsync may count as clean
	}
	end, generation, err := l.persist()
	s.conclude(l, end, generation, err)
}

// commitAll makes all of the logs durable with one system call.
func (s *syncer) commitAll(dirty []*Log) {
	samples := make([]syncSample, len(dirty))
	sample := func(i int) {
		dirty[i].sync.queued.Store(false)
		samples[i] = dirty[i].sample()
	}
	if slices.ContainsFunc(dirty, func(l *Log) bool { return l.epochs.unsaved() }) { // a file to be synced for each
		inParallel(len(dirty), sample)
	} else {
		for i := range dirty {
			sample(i)
		}
	}
	if s.d.Failure() != nil {
		return
	}
	s.d.newNames.Store(false)
	err := s.d.lockFile.SyncAll()
	if err != nil {
		err = storageError("syncing "+s.d.path, err)
	}
	for i, l := range dirty {
		if err != nil {
			samples[i].err = err
		}
		samples[i].rest()
		s.conclude(l, samples[i].end, samples[i].generation, samples[i].err)
	}
}

// conclude publishes what became durable, or deals with why it did not.
func (s *syncer) conclude(l *Log, end int64, generation int, err error) {
	if errors.Is(err, errDropped) {
		return // truncated or removed meanwhile; whoever did it queued the log again if anything is left
	}
	if errors.Is(err, errDiskFull) { // nothing is lost: it becomes durable when there is space
		s.d.keeper.syncLater(l)
		return
	}
	if err != nil {
		s.d.fail(err)
		return
	}
	l.setDurable(end, generation)
	if now := l.Durable(); l.grown != nil && l.told.Swap(now) != now {
		l.grown(now)
	}
}

func (s *syncer) tellFailure() {
	err := s.d.Failure()
	if err == nil || s.told {
		return
	}
	s.told = true
	s.d.logger.Error("log directory failed: its partitions take no more writes until the broker is restarted", "dir", s.d.path, "error", err)
	if s.d.failed != nil {
		s.d.failed(err)
	}
}

// syncSample is what a log has at one moment: whatever has to be made durable before end may be published.
type syncSample struct {
	end        int64
	generation int
	rolled     []*segment
	active     *segment
	newNames   bool
	err        error
}

// rest lets the files of sealed segments be closed: they are open while somebody reads them.
func (s *syncSample) rest() {
	for _, rolled := range s.rolled {
		rolled.rest()
	}
}

// sample takes what the log has to make durable. Only the syncer calls it, and who opens or closes the log.
func (l *Log) sample() (s syncSample) {
	l.sync.mu.Lock()
	s.generation = l.sync.mu.generation
	l.sync.mu.Unlock()
	s.active = l.view.Load().active()
	s.active.syncs.Add(1)
	s.end = s.active.end() // first: a segment that is rolled after this is in rolled when it is taken below
	if s.err = l.persistEpochs(); s.err != nil {
		return s
	}
	l.sync.mu.Lock()
	defer l.sync.mu.Unlock()
	s.rolled, s.newNames = l.sync.mu.rolled, l.sync.mu.newNames
	l.sync.mu.rolled, l.sync.mu.newNames = nil, false
	return s
}

// unsettled reports whether the log has anything to make durable.
func (l *Log) unsettled() bool {
	l.sync.mu.Lock()
	defer l.sync.mu.Unlock()
	return l.dir.durability == Async || l.sync.mu.durable < l.End() || l.sync.mu.newNames || len(l.sync.mu.rolled) > 0 || l.epochs.unsaved()
}

// persist makes everything durable that the log has at this moment and returns where that ends.
func (l *Log) persist() (end int64, generation int, err error) {
	s := l.sample()
	if s.err != nil || l.dir.durability == Async {
		s.rest()
		return s.end, s.generation, s.err
	}
	if s.newNames {
		if err := l.dir.syncNames(l); err != nil {
			return 0, 0, err
		}
	}
	for _, rolled := range s.rolled {
		if err := rolled.sync(); err != nil && !errors.Is(err, errDropped) {
			return 0, 0, err
		}
	}
	s.rest()
	return s.end, s.generation, s.active.sync()
}

// persistEpochs writes leader-epoch-checkpoint if it is out of date. The name is made durable with the other new ones.
func (l *Log) persistEpochs() error {
	l.epochFile.Lock()
	defer l.epochFile.Unlock()
	entries, dirty := l.epochs.takeDirty()
	if !dirty {
		return nil
	}
	if err := l.dir.fs.WriteFile(l.epochsPath(), encodeEpochs(entries), false); err != nil {
		l.epochs.markDirty()
		if l.closed.Load() && errors.Is(err, fs.ErrNotExist) {
			return errDropped
		}
		if noSpace(err) {
			return fmt.Errorf("%w: %w", errDiskFull, err)
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

// syncCost learns which way of syncing is quicker. What others have written to the same file system makes syncing all of it slow.
type syncCost struct {
	each, whole float64 // seconds per log in parallel, and for all: moving averages, 0 for unknown
	from        int     // dirty logs from which it may be quicker, 0: never (the kernel would not tell of errors)
}

// wholeIsQuicker decides for n dirty logs.
func (c *syncCost) wholeIsQuicker(n int) bool {
	return c.from > 0 && n >= c.from && c.whole < c.each*float64(n)
}

// learn takes in a round. The way not taken slowly looks better, so that it gets another chance.
func (c *syncCost) learn(whole bool, n int, took time.Duration) {
	const weight, hope = 0.1, 0.99
	average := func(old, now float64) float64 {
		if old == 0 {
			return now
		}
		return old + weight*(now-old)
	}
	switch {
	case whole:
		c.whole = average(c.whole, took.Seconds())
	case n > 1:
		c.each = average(c.each, took.Seconds()/float64(n))
	case c.each == 0:
		c.each = took.Seconds()
	}
	if !whole && n >= wholeFrom {
		c.whole *= hope
	}
}
