package commitlog

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// checkpointInterval is how often the checkpoints of a Dir are written (log.flush.offset.checkpoint.interval.ms).
	checkpointInterval = 60 * time.Second
	// keeperRetry is how long the keeper waits after the disk was full.
	keeperRetry = time.Second
)

// keeper is the goroutine of a Dir that does what nobody waits for: it writes the indexes and snapshots of sealed segments, removes
// deleted files, and writes the checkpoints from time to time.
type keeper struct {
	d    *Dir
	wake chan struct{}
	done chan struct{}
	mu   struct {
		sync.Mutex
		seals   []sealTask
		removes []removeTask
		syncs   []*Log // to be given to the syncer again, once
		closed  bool
	}
}

type sealTask struct {
	l *Log
	s *segment
}

type removeTask struct {
	path string
	due  time.Time
}

func newKeeper(d *Dir) *keeper {
	return &keeper{d: d, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// seal has the index files of a sealed segment written.
func (k *keeper) seal(l *Log, s *segment) {
	k.mu.Lock()
	k.mu.seals = append(k.mu.seals, sealTask{l, s})
	k.mu.Unlock()
	k.nudge()
}

// remove has a file or directory removed at due.
func (k *keeper) remove(path string, due time.Time) {
	k.mu.Lock()
	k.mu.removes = append(k.mu.removes, removeTask{path, due})
	k.mu.Unlock()
	k.nudge()
}

// syncLater has the syncer look at l again after a while.
func (k *keeper) syncLater(l *Log) {
	k.mu.Lock()
	k.mu.syncs = append(k.mu.syncs, l)
	k.mu.Unlock()
	k.nudge()
}

// resync gives the syncer what it could not do when the disk was full.
func (k *keeper) resync() {
	k.mu.Lock()
	syncs := k.mu.syncs
	k.mu.syncs = nil
	k.mu.Unlock()
	for _, l := range syncs {
		k.d.syncer.enqueue(l)
	}
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	checkpoint := time.NewTicker(checkpointInterval)
	defer checkpoint.Stop()
	retry := time.NewTimer(keeperRetry)
	defer retry.Stop()
	for {
		select {
		case <-k.wake:
		case <-retry.C:
			k.resync()
		case <-checkpoint.C:
			if err := k.d.writeCheckpoints(); err != nil {
				k.d.logger.Warn("checkpoints are not written", "dir", k.d.path, "error", err)
			}
		}
		k.work(time.Now())
		k.mu.Lock()
		closed, next := k.mu.closed, k.nextLocked(time.Now())
		k.mu.Unlock()
		if closed {
			return
		}
		retry.Reset(next)
	}
}

// nextLocked returns when there is something to do again if nobody asks.
func (k *keeper) nextLocked(now time.Time) time.Duration {
	next := time.Hour
	if len(k.mu.seals)+len(k.mu.syncs) > 0 {
		next = keeperRetry
	}
	for _, r := range k.mu.removes {
		next = min(next, max(r.due.Sub(now), 0))
	}
	return next
}

// work does what is due. What fails for want of space stays for later.
func (k *keeper) work(now time.Time) {
	k.mu.Lock()
	seals, removes := k.mu.seals, k.mu.removes
	k.mu.seals, k.mu.removes = nil, nil
	k.mu.Unlock()
	later := slices.DeleteFunc(removes, func(r removeTask) bool {
		if r.due.After(now) {
			return false
		}
		if err := k.d.fs.RemoveAll(r.path); err != nil {
			k.d.logger.Warn("a deleted file is not removed", "path", r.path, "error", err)
		}
		return true
	})
	var full []sealTask
	for _, t := range seals {
		err := t.l.finishSeal(t.s)
		if err != nil && noSpace(err) {
			full = append(full, t)
		} else if err != nil {
			k.d.fail(err)
		}
	}
	k.mu.Lock()
	k.mu.seals, k.mu.removes = append(full, k.mu.seals...), append(later, k.mu.removes...)
	k.mu.Unlock()
}

// close waits until all that is due is done.
func (k *keeper) close() {
	k.mu.Lock()
	k.mu.closed = true
	k.mu.Unlock()
	k.nudge()
	<-k.done
}

// finishSeal writes the index files and the producer snapshot of a sealed segment, once. Its index then leaves memory.
func (l *Log) finishSeal(s *segment) error {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	if s.sealing.done || s.sealing.dropped || l.dir.Failure() != nil {
		return nil
	}
	x := s.mem.Load()
	if x == nil {
		return nil // it was never in memory: the files are from before
	}
	if err := s.sync(); errors.Is(err, errDropped) {
		return nil // on its way out
	} else if err != nil { // an .index says that its .log is complete
		l.dir.fail(err) // whatever the reason: a sync is not tried again
		return err
	}
	if err := s.writeIndexes(x); err != nil {
		return err
	}
	if s.sealing.snapshot != nil {
		if err := l.dir.fs.WriteFile(segmentPath(l.path, s.sealing.end, snapshotSuffix), s.sealing.snapshot, false); err != nil {
			return storageError("writing a producer snapshot", err)
		}
	}
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		return storageError("syncing a directory", err)
	}
	s.sealing.done, s.sealing.snapshot = true, nil
	s.mem.Store(nil)
	return nil
}

// writeIndexes writes .index and .timeindex and makes .txnindex durable.
func (s *segment) writeIndexes(x *index) error {
	offsets, times := x.bytes()
	for suffix, b := range map[string][]byte{indexSuffix: offsets, timeSuffix: times} {
		if err := s.fs.WriteFile(s.path(suffix), b, false); err != nil {
			return storageError("writing an index", err)
		}
	}
	file, err := s.fs.OpenWrite(s.path(txnSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(file.Truncate(int64(s.aborted.Load())*txnEntrySize), file.Sync(), file.Close())
	}
	if err != nil {
		return storageError("writing a transaction index", err)
	}
	return nil
}

// sealed reports whether the files of a sealed segment are on disk.
func (s *segment) sealedOnDisk() bool {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	return s.sealing.done
}

// sweep has all files with one of these suffixes removed.
func (d *Dir) sweep(entries []os.DirEntry, parent string, suffixes ...string) error {
	for _, e := range entries {
		for _, suffix := range suffixes {
			if strings.HasSuffix(e.Name(), suffix) {
				if err := d.fs.RemoveAll(parent + string(os.PathSeparator) + e.Name()); err != nil {
					return storageError("removing leftovers", err)
				}
			}
		}
	}
	return nil
}
