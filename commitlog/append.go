package commitlog

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
)

// producerExpiryInterval is how often producers that fell silent are looked for (producer.id.expiration.check.interval.ms).
const producerExpiryInterval = 10 * time.Minute

// Appended tells where a batch went.
type Appended struct {
	BaseOffset, LastOffset int64
	LogAppendTime          int64 // ms, -1 unless LogAppendTime; the original's timestamp for a duplicate
	Duplicate              bool  // an idempotent producer sent it before: nothing was written
}

// Append (W) appends one batch that ingest has validated: checks the producer's sequence, stamps base offset and leader epoch into the
// batch in place (outside its CRC), writes, indexes, may roll. Not durable yet: see Dir's syncer. b is not retained.
//
// Errors: OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED (markers),
// KAFKA_STORAGE_ERROR. After any of them the log is as it was.
func (l *Log) Append(b record.Batch, leaderEpoch int32, now time.Time) (Appended, error) {
	if err := l.writable(); err != nil {
		return Appended{}, err
	}
	l.expireProducers(now)
	if m, ok := l.producers.duplicate(b); ok {
		return Appended{m.lastOffset - int64(m.offsetDelta), m.lastOffset, m.timestamp, true}, nil
	}
	if err := l.producers.check(b); err != nil {
		return Appended{}, err
	}
	base := l.End()
	b.SetBaseOffset(base)
	b.SetLeaderEpoch(leaderEpoch)
	active := l.view.Load().active()
	if _, err := active.writable(); err != nil {
		return Appended{}, err
	}
	if l.rollDue(active, active.size(), active.w.firstTimestamp, b, now) {
		if err := l.roll(base, now); err != nil {
			return Appended{}, err
		}
	}
	l.epochs.assign(leaderEpoch, base)
	if err := l.write(b, now); err != nil {
		return Appended{}, err
	}
	done := Appended{BaseOffset: base, LastOffset: b.LastOffset(), LogAppendTime: -1}
	if b.LogAppendTime() {
		done.LogAppendTime = b.MaxTimestamp()
	}
	return done, nil
}

// AppendReplicated (W) appends batches as the leader stamped them (follower, restore). The first must not lie below the log end; gaps are
// what compaction left. Errors: CORRUPT_MESSAGE (nothing of the damaged batch and what follows is appended), KAFKA_STORAGE_ERROR.
func (l *Log) AppendReplicated(batches []byte) error {
	if err := l.writable(); err != nil {
		return err
	}
	now := time.Now()
	l.expireProducers(now)
	for len(batches) > 0 {
		run, rest, err := l.replicatedRun(batches, now)
		if err != nil {
			return err
		}
		if len(run) == 0 { // the first batch has to go into the next segment
			if err := l.roll(record.Batch(batches).BaseOffset(), now); err != nil {
				return err
			}
			continue
		}
		if err := l.write(run, now); err != nil {
			return err
		}
		batches = rest
	}
	return nil
}

// replicatedRun splits off the valid batches that fit into the active segment: one write for all of them. It records their epochs.
func (l *Log) replicatedRun(batches []byte, now time.Time) (run, rest []byte, err error) {
	active := l.view.Load().active()
	x, err := active.writable()
	if err != nil {
		return nil, nil, err
	}
	offsets, times := x.entries()
	cfg := l.cfg.Load()
	room := min(cfg.maxOffsetEntries()-offsets, cfg.maxTimeEntries()-times)
	end := active.end()
	size, first := 0, active.w.firstTimestamp
	for rest = batches; len(rest) > 0; {
		b, next, err := record.Split(rest)
		if err == nil {
			err = l.checkReplicated(b, end)
		}
		if err != nil {
			if size > 0 {
				break // what came before it is good: the next run reports the damage
			}
			return nil, nil, err
		}
		if size > 0 && (room <= 0 || b.Control()) || l.rollDue(active, active.size()+int64(size), first, b, now) {
			break
		}
		if active.size() == 0 && size == 0 {
			first = b.MaxTimestamp()
		}
		l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		end = b.LastOffset() + 1
		size += len(b)
		rest = next
		if room--; b.Control() {
			break // a marker is written alone: see write
		}
	}
	return batches[:size:size], rest, nil
}

func (l *Log) checkReplicated(b record.Batch, end int64) error {
	switch {
	case b.Magic() != record.Magic2 || !b.CheckCRC() || b.LastOffsetDelta() < 0:
		return fmt.Errorf("%w: %s: batch at offset %d", kerr.CorruptMessage, l.name, b.BaseOffset())
	case b.BaseOffset() < end:
		return fmt.Errorf("%w: %s: batch at offset %d, the log ends at %d", kerr.UnknownServerError, l.name, b.BaseOffset(), end)
	}
	return nil
}

// write puts whole stamped batches, for which the active segment has room, at its end: one pwrite, then indexes and producer
// state, then the new end becomes visible. A marker comes alone; the transaction index has its entry before the log has the marker.
func (l *Log) write(batches []byte, now time.Time) error {
	s := l.view.Load().active()
	x, err := s.writable()
	if err != nil {
		return err
	}
	aborts := false
	if first := record.Batch(batches); first.Control() {
		if aborts, err = l.prepareMarker(s, first); err != nil {
			return err
		}
	}
	size := s.size()
	file, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	if _, err := file.WriteAt(batches, size); err != nil {
		return l.writeFailed(s, size, err)
	}
	s.tail.append(size, batches)
	end := s.end()
	pos := size
	interval := l.cfg.Load().IndexIntervalBytes
	for rest := batches; len(rest) > 0; {
		b := record.Batch(rest)
		b = b[:b.Size()]
		rest = rest[len(b):]
		s.count(x, b, pos, interval)
		l.update(b)
		pos += int64(len(b))
		end = b.LastOffset() + 1
	}
	if aborts {
		s.aborted.Add(1)
	}
	if size == 0 {
		s.w.firstAppend = now
	}
	s.modified.Store(now.UnixMilli())
	s.publish(end, pos)
	l.writeAhead(s, file)
	l.dir.files.keep(l, s) // it has news that are not durable
	if l.dir.durability == Async {
		l.sync.mu.Lock()
		generation := l.sync.mu.generation
		l.sync.mu.Unlock()
		l.setDurable(end, generation)
	}
	l.dir.metrics.appended.Add(float64(len(batches)))
	l.dir.syncer.enqueue(l)
	return nil
}

// prepareMarker writes the transaction index entry of a marker that is about to be written, if it aborts something. It refuses a
// marker that does not parse.
func (l *Log) prepareMarker(s *segment, b record.Batch) (aborts bool, err error) {
	if b.ProducerID() < 0 {
		return false, nil
	}
	txn, aborts, err := l.producers.aborts(b)
	if err != nil || !aborts {
		return false, err
	}
	if s.aborted.Load() == 0 {
		l.newNames()
	}
	return true, s.writeAborted(txn)
}

// update takes a written batch into the producer state.
func (l *Log) update(b record.Batch) {
	if b.ProducerID() < 0 {
		return
	}
	if err := l.producers.update(b); err != nil {
		panic(fmt.Sprintf("%s: a marker that parsed does not parse: %v", l.name, err))
	}
	if b.Transactional() {
		l.firstUnstable.Store(l.producers.firstOpen())
	}
}

// count takes a batch at pos into the indexes, exactly as Kafka's LogSegment.append does. REQUIRES: the writer.
func (s *segment) count(x *index, b record.Batch, pos, interval int64) {
	if pos == 0 {
		s.w.firstTimestamp = b.MaxTimestamp()
	}
	if ts := b.MaxTimestamp(); ts > s.maxTs.Load() {
		s.maxTs.Store(ts)
		s.w.maxTsOffset = b.LastOffset()
	}
	if s.w.sinceIndex > interval {
		x.add(uint32(b.LastOffset()-s.base), uint32(pos), s.maxTs.Load(), uint32(s.w.maxTsOffset-s.base))
		s.w.sinceIndex = 0
	}
	s.w.sinceIndex += int64(len(b))
}

// writeFailed cuts off what a failed write left. Want of space is no damage: the log goes on when there is some.
func (l *Log) writeFailed(s *segment, size int64, err error) error {
	file, openErr := s.acquire()
	if openErr == nil {
		openErr = file.Truncate(size)
		s.w.ahead.reset(size, l.dir.ahead)
		s.release()
	}
	if openErr != nil || !noSpace(err) {
		err = errors.Join(err, openErr)
		l.dir.fail(storageError("writing "+s.path(logSuffix), err))
	}
	l.dir.metrics.failedWrites.Inc()
	return storageError("writing "+s.path(logSuffix), err)
}

func (l *Log) expireProducers(now time.Time) {
	if now.Sub(l.w.lastExpiry) < producerExpiryInterval {
		return
	}
	l.w.lastExpiry = now
	l.producers.expire(now, l.cfg.Load().ProducerIDExpiration)
}
