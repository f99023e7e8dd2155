package commitlog

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"slices"
	"time"

	"varve/commitlog/record"
)

// load opens what lies in the partition's directory: after a clean shutdown as it is, else by recovery (kafka-rules §1.6 as doc.go tells it).
func (l *Log) load(fresh bool, now time.Time) error {
	if start := l.dir.logStarts[l.name]; !fresh {
		l.logStart.Store(start)
		l.compacted.Store(l.dir.compacted[l.name])
	}
	if err := l.loadEpochs(); err != nil {
		return err
	}
	bases, err := l.tidy()
	if err != nil {
		return err
	}
	segments := make([]*segment, 0, len(bases)+1)
	for _, base := range bases {
		segments = append(segments, newSegment(l.dir.fs, l.path, base))
	}
	state, segments, changed, err := l.loadSegments(segments)
	if err != nil {
		return err
	}
	end := int64(-1)
	if n := len(segments); n > 0 {
		end = segments[n-1].end()
	}
	if end < l.logStart.Load() || len(segments) == 0 {
		return l.startAfresh(segments, now)
	}
	l.view.Store(&view{segments: segments})
	if err := l.pruneSnapshots(end); err != nil {
		return err
	}
	if state == nil {
		if state, err = l.producersAt(end, now); err != nil {
			return err
		}
	}
	l.producers.replace(state)
	l.firstUnstable.Store(l.producers.firstOpen())
	l.epochs.truncateFromEnd(end)
	l.epochs.truncateFromStart(l.logStart.Load())
	if err := l.hold(segments[len(segments)-1], now); err != nil {
		return err
	}
	l.loaded(end, changed || !l.dir.clean && !l.dir.flushed)
	return nil
}

// loaded publishes the end. With persist the files may not be durable yet: the syncer makes them so, with those of other logs, and publishes that.
func (l *Log) loaded(end int64, persist bool) {
	l.compacted.Store(min(l.compacted.Load(), end))
	if !persist {
		l.cutDurable(end, true)
		l.told.Store(end)
		return
	}
	l.dir.mu.Lock()
	point := l.dir.recoveryPoints[l.name]
	l.dir.mu.Unlock()
	durable := min(max(point, l.view.Load().base()), end)
	if l.dir.durability == Async {
		durable = end
	}
	l.newNames()
	l.cutDurable(durable, true)
	l.told.Store(durable)
	l.dir.syncer.enqueue(l)
}

// startAfresh begins an empty log at the log start: there is nothing, or nothing that counts any more.
func (l *Log) startAfresh(old []*segment, now time.Time) error {
	for _, s := range old {
		if err := l.removeFiles(s); err != nil {
			return err
		}
	}
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	start := l.logStart.Load()
	l.epochs.truncateFromEnd(start)
	s, err := l.createSegment(start, now)
	if err != nil {
		return err
	}
	l.view.Store(&view{segments: []*segment{s}})
	l.loaded(start, len(old) > 0)
	return nil
}

func (l *Log) removeFiles(s *segment) error {
	for _, suffix := range []string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		if err := l.dir.fs.Remove(s.path(suffix)); err != nil {
			return storageError("removing a segment", err)
		}
	}
	return nil
}

func (l *Log) loadEpochs() error {
	b, err := l.dir.fs.ReadFile(l.epochsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storageError("reading leader epochs", err)
	}
	entries, err := decodeEpochs(b)
	if err != nil {
		l.dir.logger.Warn("leader epochs are read from the segments instead", "path", l.epochsPath(), "error", err)
		l.dir.recoverAll(l.name)
		return nil
	}
	l.epochs.set(entries)
	l.epochs.takeDirty() // the file says so
	return nil
}

// recoverAll has a log recovered from its first segment.
func (d *Dir) recoverAll(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recoveryPoints[name] = -1
}

// loadSegments opens segments in order and recovers those that may be damaged. What follows damage is removed. state is the producer
// state at the end, nil if it is to be found; changed: files are not as they were.
func (l *Log) loadSegments(segments []*segment) (state *producers, kept []*segment, changed bool, err error) {
	l.dir.mu.Lock()
	point := l.dir.recoveryPoints[l.name]
	l.dir.mu.Unlock()
	for i, s := range segments {
		last := i == len(segments)-1
		next := int64(-1)
		if !last {
			next = segments[i+1].base
		}
		unflushed := !l.dir.clean && (last || next > point) || point < 0
		ok := false
		if !unflushed {
			if ok, err = s.loadClean(next); err != nil {
				return nil, nil, false, err
			}
		}
		if ok {
			state = nil
			continue
		}
		if state == nil {
			l.view.Store(&view{segments: segments[:i+1]})
			if state, err = l.producersAt(s.base, time.Now()); err != nil {
				return nil, nil, false, err
			}
		}
		sound, cut, err := l.recover(s, state, next)
		if err != nil {
			return nil, nil, false, err
		}
		changed = changed || cut
		if !sound {
			for _, gone := range segments[i+1:] {
				if err := l.removeFiles(gone); err != nil {
					return nil, nil, false, err
				}
			}
			return state, segments[:i+1], true, nil
		}
	}
	return state, segments, changed, nil
}

// loadClean takes the files as they are; false if they have to be recovered. next is the base of the segment that follows, -1 without one.
func (s *segment) loadClean(next int64) (bool, error) {
	info, err := s.fs.Stat(s.path(logSuffix))
	if err != nil {
		return false, storageError("opening a segment", err)
	}
	if info.Size() > math.MaxUint32 {
		return false, &CorruptionError{s.path(logSuffix), info.Size(), s.base, "a segment of more than 4 GiB"}
	}
	offsets, err1 := s.fs.Stat(s.path(indexSuffix))
	times, err2 := s.fs.Stat(s.path(timeSuffix))
	if err1 != nil || err2 != nil || offsets.Size()%offsetEntrySize != 0 || times.Size()%timeEntrySize != 0 {
		return false, nil
	}
	txns, err := s.fs.ReadFile(s.path(txnSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, storageError("opening a segment", err)
	}
	if !validTxnIndex(txns, s.base) {
		return false, nil
	}
	s.aborted.Store(int32(len(txns) / txnEntrySize))
	s.modified.Store(info.ModTime().UnixMilli())
	s.publish(s.base, info.Size())
	if next >= 0 {
		s.publish(min(next, s.base+math.MaxInt32), info.Size())
		s.sealing.done = true
	} else if ok, err := s.findEnd(info.Size()); !ok || err != nil {
		return false, err
	}
	entry, i, err := s.searchIndex(timeSuffix, timeEntrySize, math.MaxInt64, timeKey)
	if err == nil && i >= 0 {
		s.maxTs.Store(timeKey(entry[:]))
		s.w.maxTsOffset = s.base + offsetKey(entry[8:])
	}
	return err == nil, err
}

// findEnd publishes the end of a last segment, read from its last index entry on; false if its tail is damaged.
func (s *segment) findEnd(size int64) (bool, error) {
	pos, err := s.floor(math.MaxInt64)
	if err != nil {
		return false, err
	}
	end := s.base
	h := headerScan{s: s, pos: pos, end: size}
	defer h.close()
	for h.next() {
		if end = h.batch.LastOffset() + 1; end <= s.base || end-s.base > math.MaxInt32+1 {
			return false, nil
		}
	}
	if damage := (*CorruptionError)(nil); errors.As(h.err, &damage) {
		return false, nil
	}
	s.publish(end, size)
	return true, h.err
}

// hold makes s the active segment of a log that was just opened or truncated.
func (l *Log) hold(s *segment, now time.Time) error {
	l.activate(s, now)
	s.w.firstAppend = time.UnixMilli(s.modified.Load())
	s.sealing.done = false
	if s.size() < record.HeaderSize {
		return nil
	}
	b, err := s.readBatch(0, record.HeaderSize)
	if err != nil {
		return err
	}
	s.w.firstTimestamp = b.MaxTimestamp()
	return nil
}

// recover scans a segment, cuts it behind its last valid batch, and makes its indexes, epochs and producer state anew. state is that at the
// segment's base, and after it that at its end. next is the base of the segment that follows, -1 without one. sound: nothing was cut, and nothing is missing before
// next; changed: the .log or .txnindex is not as it was. A gap there is what compaction left only if the producer snapshot at next exists: it is written when all of the segment is durable.
func (l *Log) recover(s *segment, state *producers, next int64) (sound, changed bool, err error) {
	file, err := s.acquire()
	if err != nil {
		return false, false, err
	}
	defer s.release()
	size, err := file.Size()
	if err != nil {
		return false, false, storageError("recovering", err)
	}
	x := &index{}
	s.mem.Store(x)
	s.modified.Store(time.Now().UnixMilli())
	if info, err := l.dir.fs.Stat(s.path(logSuffix)); err == nil {
		s.modified.Store(info.ModTime().UnixMilli())
	}
	scan := batchScan{file: file, end: size}
	end, pos, txns, err := l.replay(s, x, state, &scan)
	if err != nil {
		return false, false, err
	}
	l.dir.metrics.recoveredBytes.Add(float64(pos))
	if pos < size {
		if !onlyZeros(file, pos, size) {
			l.dir.logger.Warn("log cut behind its last valid batch", "path", s.path(logSuffix), "position", pos, "bytes", size-pos, "offset", end, "reason", scan.bad)
			l.dir.metrics.cutBytes.Add(float64(size - pos))
		}
		if err := file.Truncate(pos); err != nil {
			return false, false, storageError("recovering", err)
		}
	}
	old, err := l.dir.fs.ReadFile(s.path(txnSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, false, storageError("recovering", err)
	}
	if changed = pos < size || !bytes.Equal(old, txns); changed {
		if err := s.replaceTxnIndex(txns); err != nil {
			return false, false, err
		}
	}
	s.aborted.Store(int32(len(txns) / txnEntrySize))
	s.publish(end, pos)
	if pos < size || next < 0 {
		return pos == size, changed, nil
	}
	if end < next && !l.dir.fs.Exists(segmentPath(l.path, next, snapshotSuffix)) {
		l.dir.logger.Warn("log cut where records are missing before the next segment", "path", s.path(logSuffix), "offset", end, "next", next)
		return false, changed, nil
	}
	s.seal(x, next, state.encode())
	return true, changed, l.finishSeal(s)
}

// replay takes every valid batch of a segment into its index, the epochs and the producer state, and returns where they end.
func (l *Log) replay(s *segment, x *index, state *producers, scan *batchScan) (end, pos int64, txns []byte, err error) {
	interval := l.cfg.Load().IndexIntervalBytes
	end = s.base
	for scan.next() {
		b := scan.batch
		if b.BaseOffset() < end || b.LastOffset()-s.base > math.MaxInt32 {
			scan.bad = "offsets do not ascend"
			break
		}
		if b.Control() && b.ProducerID() >= 0 {
			txn, aborts, err := state.aborts(b)
			if err != nil {
				scan.bad = err.Error()
				break
			}
			if aborts {
				txns = txn.append(txns)
			}
		}
		if err := state.update(b); err != nil {
			scan.bad = err.Error()
			break
		}
		if b.LeaderEpoch() > l.epochs.latest() {
			l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		}
		s.count(x, b, pos, interval)
		end, pos = b.LastOffset()+1, pos+int64(len(b))
	}
	if scan.err != nil {
		return 0, 0, nil, storageError("recovering", scan.err)
	}
	return end, pos, txns, nil
}

// replaceTxnIndex writes .txnindex anew, or removes it.
func (s *segment) replaceTxnIndex(txns []byte) error {
	var err error
	if len(txns) > 0 {
		err = s.fs.WriteFile(s.path(txnSuffix), txns, false)
	} else {
		err = s.fs.Remove(s.path(txnSuffix))
	}
	if err != nil {
		return storageError("writing a transaction index", err)
	}
	s.aborted.Store(int32(len(txns) / txnEntrySize))
	return nil
}

// reindex makes the index of a segment that was cut to size bytes and offsets below end.
func (l *Log) reindex(s *segment, size, end int64) error {
	x := &index{}
	s.mem.Store(x)
	s.publish(s.base, size)
	interval := l.cfg.Load().IndexIntervalBytes
	h := headerScan{s: s, end: size}
	defer h.close()
	for h.next() {
		s.count(x, h.batch[:record.HeaderSize], h.at, interval)
		s.w.sinceIndex += h.batch.Size() - record.HeaderSize
	}
	if h.err != nil {
		return h.err
	}
	txns, err := s.fs.ReadFile(s.path(txnSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storageError("truncating", err)
	}
	n := 0
	for n+txnEntrySize <= len(txns) && decodeAborted(txns[n:]).LastOffset < end {
		n += txnEntrySize
	}
	return s.replaceTxnIndex(txns[:n])
}

// producersAt rebuilds the producer state at offset: the newest snapshot at or below it, and the batches from there on. Damaged snapshots are removed.
func (l *Log) producersAt(offset int64, now time.Time) (*producers, error) {
	v := l.view.Load()
	state, from := &producers{}, v.base()
	for _, at := range slices.Backward(l.snapshots()) {
		if at > offset || at < v.base() {
			continue
		}
		path := segmentPath(l.path, at, snapshotSuffix)
		b, err := l.dir.fs.ReadFile(path)
		if err != nil {
			return nil, storageError("reading a producer snapshot", err)
		}
		decoded, err := decodeProducers(b, now, l.cfg.Load().ProducerIDExpiration)
		if err == nil {
			state, from = decoded, at
			break
		}
		l.dir.logger.Warn("damaged producer snapshot removed", "path", path, "error", err)
		if err := l.dir.fs.Remove(path); err != nil {
			return nil, storageError("removing a producer snapshot", err)
		}
	}
	for _, s := range v.segments[v.find(from):] {
		if s.base >= offset {
			break
		}
		if err := s.replayProducers(state, from, offset); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// replayProducers takes the batches that begin in [from, to) into state.
func (s *segment) replayProducers(state *producers, from, to int64) error {
	pos, err := s.floor(from)
	if err != nil {
		return err
	}
	h := headerScan{s: s, pos: pos, end: s.size()}
	defer h.close()
	for h.next() && h.batch.BaseOffset() < to {
		b := h.batch
		if b.BaseOffset() < from || b.ProducerID() < 0 {
			continue
		}
		if b.Control() {
			if b, err = s.readBatch(h.at, b.Size()); err != nil {
				return err
			}
		}
		if err := state.update(b); err != nil {
			return &CorruptionError{s.path(logSuffix), h.at, b.BaseOffset(), err.Error()}
		}
	}
	return h.err
}

// pruneSnapshots removes the producer snapshots beyond the end, and those that belong to no segment's start, except the newest.
func (l *Log) pruneSnapshots(end int64) error {
	v := l.view.Load()
	newest := int64(-1)
	for _, at := range l.snapshots() {
		if at <= end {
			newest = at
		}
	}
	return l.removeSnapshots(func(at int64) bool {
		start := v.segments[v.find(at)].base == at
		return at > end || !start && (at != newest || at < v.active().base)
	})
}
