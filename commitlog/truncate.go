package commitlog

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// TruncateTo (W) removes every offset >= offset. A batch that holds offset goes as a whole, so the log may end earlier. It is durable on return.
func (l *Log) TruncateTo(offset int64) error {
	if err := l.writable(); err != nil {
		return err
	}
	if offset >= l.End() {
		l.epochs.truncateFromEnd(max(offset, l.End()))
		l.dir.syncer.enqueue(l)
		return nil
	}
	l.structure.Lock()
	defer l.structure.Unlock()
	l.compacted.Store(min(l.compacted.Load(), offset))
	v := l.view.Load()
	if offset <= v.base() {
		return l.restartAt(offset, l.epochs.below(offset), nil)
	}
	l.cutDurable(offset, false)
	keep := v.find(offset - 1) // the last segment that holds something below offset
	if err := l.settle(v.segments[:keep+1]); err != nil {
		return err
	}
	for i := len(v.segments) - 1; i > keep; i-- {
		if err := l.dropSegment(v.segments[i]); err != nil {
			return err
		}
	}
	if err := l.removeSnapshots(func(at int64) bool { return at >= offset }); err != nil {
		return err
	}
	if err := l.unseal(v.segments[keep]); err != nil {
		return err
	}
	s, err := l.cutSegment(v, keep, offset)
	if err != nil {
		return err
	}
	l.view.Store(v.with(append(v.segments[:keep:keep], s)...))
	end := s.end()
	l.cutDurable(end, false)
	l.epochs.truncateFromEnd(end)
	state, err := l.producersAt(end, time.Now())
	if err != nil {
		return err
	}
	l.producers.replace(state)
	l.firstUnstable.Store(l.producers.firstOpen())
	l.dir.syncer.enqueue(l)
	return nil
}

// unseal removes the index files of a segment that is about to be cut, for good and together with the segments that were dropped: an .index
// says that its .log is complete.
func (l *Log) unseal(s *segment) error {
	for _, suffix := range []string{indexSuffix, timeSuffix} {
		if err := l.dir.fs.Remove(s.path(suffix)); err != nil {
			return storageError("truncating", err)
		}
	}
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		l.dir.fail(storageError("syncing a directory", err))
		return l.dir.Failure()
	}
	return nil
}

// settle has the files of sealed segments written, so that snapshots can be read.
func (l *Log) settle(segments []*segment) error {
	for _, s := range segments {
		s.sealing.Lock()
		sealed := s.sealing.snapshot != nil
		s.sealing.Unlock()
		if sealed {
			if err := l.finishSeal(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutSegment cuts segment i before the batch that holds offset and returns an object of the remaining file, as the writer needs it.
func (l *Log) cutSegment(v *view, i int, offset int64) (*segment, error) {
	old := v.segments[i]
	at, found, err := old.locate(offset, old.size())
	if err != nil {
		return nil, err
	}
	end := offset
	if found {
		end = min(offset, at.base)
	}
	file, err := old.acquire()
	if err != nil {
		return nil, err
	}
	if err = file.Truncate(at.pos); err == nil {
		err = file.Sync() // else a crash could bring the old records back under the leader epochs of new ones
	}
	old.release()
	if err != nil {
		l.dir.fail(storageError("truncating", err))
		return nil, l.dir.Failure()
	}
	old.retire()
	s := newSegment(l.dir.fs, l.path, old.base)
	if err := l.reindex(s, at.pos, end); err != nil {
		return nil, err
	}
	s.publish(max(end, s.base), at.pos)
	return s, l.hold(s, time.Now())
}

// retire makes an object of a file useless that another object takes over: readers go to the newest view.
func (s *segment) retire() {
	s.mu.Lock()
	s.mu.dropped = true
	s.mu.Unlock()
	s.sealing.Lock()
	s.sealing.dropped = true
	s.sealing.Unlock()
	s.tail.drop()
	s.rest()
}

// dropSegment takes a segment's files away.
func (l *Log) dropSegment(s *segment) error {
	if err := s.drop(); err != nil {
		l.dir.fail(err)
		return err
	}
	l.removeDeleted(s)
	return nil
}

// removeDeleted has the renamed files removed.
func (l *Log) removeDeleted(s *segment) {
	for _, suffix := range []string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		l.dir.keeper.remove(s.path(suffix+deletedSuffix), time.Time{})
	}
}

// Reset (W) throws all local data away and starts an empty log at offset, with the producer state and leader epochs that a bundle carried.
// It is durable on return.
func (l *Log) Reset(offset int64, epochs []EpochEntry, producerSnapshot []byte) error {
	if err := l.writable(); err != nil {
		return err
	}
	if offset < 0 {
		return fmt.Errorf("%s: reset to offset %d", l.name, offset)
	}
	l.structure.Lock()
	defer l.structure.Unlock()
	l.compacted.Store(min(l.compacted.Load(), offset))
	return l.restartAt(offset, epochs, producerSnapshot)
}

func (l *Log) restartAt(offset int64, epochs []EpochEntry, snapshot []byte) error {
	state := &producers{}
	if len(snapshot) > 0 {
		var err error
		if state, err = decodeProducers(snapshot, time.Now(), l.cfg.Load().ProducerIDExpiration); err != nil {
			return &CorruptionError{l.path, -1, offset, "producer snapshot: " + err.Error()}
		}
	}
	l.cutDurable(offset, true)
	v := l.view.Load()
	for i := len(v.segments) - 1; i >= 0; i-- {
		if err := l.dropSegment(v.segments[i]); err != nil {
			return err
		}
	}
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil { // no old segment may come back beside the new one
		return err
	}
	if len(snapshot) > 0 {
		if err := l.dir.fs.WriteFile(segmentPath(l.path, offset, snapshotSuffix), snapshot, false); err != nil {
			return storageError("writing a producer snapshot", err)
		}
	}
	l.epochs.set(epochs)
	s, err := l.createSegment(offset, time.Now())
	if err != nil {
		return err
	}
	l.producers.replace(state)
	l.firstUnstable.Store(l.producers.firstOpen())
	l.logStart.Store(min(l.logStart.Load(), offset))
	l.view.Store(v.with(s))
	l.cutDurable(offset, true)
	l.told.Store(offset)
	if err := l.persistEpochs(); err != nil {
		return storageError("resetting", err)
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.dir.syncer.enqueue(l)
	return nil
}

// syncDir makes the names of the log's files durable.
func (l *Log) syncDir() error {
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		l.dir.fail(storageError("syncing a directory", err))
		return l.dir.Failure()
	}
	return nil
}

// DeleteBefore (W) drops sealed segments that end at or below offset (local trimming and retention); returns what went.
// Readers that hold a Slice keep the files until they release it.
func (l *Log) DeleteBefore(offset int64) (segments int, bytes int64, err error) {
	if err := l.writable(); err != nil {
		return 0, 0, err
	}
	l.structure.Lock()
	defer l.structure.Unlock()
	v := l.view.Load()
	n := 0
	for n+1 < len(v.segments) && v.segments[n+1].base <= offset {
		n++
	}
	if n == 0 {
		return 0, 0, nil
	}
	if err := l.settle(v.segments[n-1 : n]); err != nil { // its snapshot is the state at the new start
		return 0, 0, err
	}
	l.view.Store(v.with(v.segments[n:]...)) // the caller is the writer
	for _, s := range v.segments[:n] {
		bytes += s.size()
		if err := l.dropSegment(s); err != nil {
			return segments, bytes, err
		}
		segments++
	}
	base := v.segments[n].base
	return segments, bytes, l.removeSnapshots(func(at int64) bool { return at < base })
}

// SetLogStart (W) raises the log start offset (global, both tiers): the epoch cache forgets what lies below. It may lie above the log end.
func (l *Log) SetLogStart(offset int64) error {
	if offset <= l.logStart.Load() {
		return nil
	}
	l.logStart.Store(offset)
	l.epochs.truncateFromStart(offset)
	if err := l.writable(); err != nil {
		return err
	}
	l.dir.syncer.enqueue(l)
	return nil
}

// removeSnapshots removes the producer snapshots at offsets that f names.
func (l *Log) removeSnapshots(f func(at int64) bool) error {
	for _, at := range l.snapshots() {
		if f(at) {
			if err := l.dir.fs.Remove(segmentPath(l.path, at, snapshotSuffix)); err != nil {
				return storageError("removing a producer snapshot", err)
			}
		}
	}
	return nil
}

// snapshots lists the offsets of the producer snapshots on disk, ascending.
func (l *Log) snapshots() (offsets []int64) {
	entries, err := l.dir.fs.ReadDir(l.path)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if at, ok := baseOf(e.Name(), snapshotSuffix); ok {
			offsets = append(offsets, at)
		}
	}
	return offsets
}

// baseOf parses the offset in a file name such as 00000000000000000042.log.
func baseOf(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<63-1-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func (l *Log) epochsPath() string { return filepath.Join(l.path, epochCheckpointName) }
