package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Sealed is a sealed segment held open for upload: its files stay until Release, whatever retention does.
type Sealed struct {
	SegmentInfo
	Log              *os.File // read with ReadAt over [0, Bytes)
	Index, TimeIndex []byte
	TxnIndex         []byte       // nil without aborted transactions
	ProducerSnapshot []byte       // at EndOffset
	Epochs           []EpochEntry // the history up to EndOffset
	s                *segment
}

// OpenSealed opens the sealed segment at base. OFFSET_OUT_OF_RANGE if there is none (any more); a CorruptionError if it is known to be damaged.
func (l *Log) OpenSealed(base int64) (*Sealed, error) {
	for {
		v := l.view.Load()
		i := v.find(base)
		if v.segments[i].base != base || i+1 == len(v.segments) {
			return nil, outOfRange(l, base, l.localStart(v), v.active().base)
		}
		sealed, err := l.openSealed(v, i)
		if !l.retry(v, &err) {
			return sealed, err
		}
	}
}

func (l *Log) openSealed(v *view, i int) (_ *Sealed, err error) {
	s := v.segments[i]
	if damage := s.damage.Load(); damage != nil {
		return nil, damage
	}
	out := &Sealed{SegmentInfo: v.info(i), s: s}
	out.Epochs = l.epochs.below(out.EndOffset)
	file, err := s.acquire()
	if err != nil {
		return nil, err
	}
	out.Log = file.OS()
	if err := l.readSealed(s, out); err != nil {
		s.release()
		return nil, err
	}
	return out, nil
}

// readSealed reads the small files, or takes what the keeper has yet to write.
func (l *Log) readSealed(s *segment, out *Sealed) (err error) {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	if s.sealing.dropped {
		return errDropped
	}
	out.ProducerSnapshot = s.sealing.snapshot
	if x := s.mem.Load(); x != nil {
		out.Index, out.TimeIndex = x.bytes()
	} else {
		if out.Index, err = s.fs.ReadFile(s.path(indexSuffix)); err != nil {
			return storageError("reading an index", err)
		}
		if out.TimeIndex, err = s.fs.ReadFile(s.path(timeSuffix)); err != nil {
			return storageError("reading an index", err)
		}
		out.Index = out.Index[:validOffsets(out.Index, out.Bytes)]
		out.TimeIndex = out.TimeIndex[:validTimes(out.TimeIndex)]
	}
	if out.TxnIndex, err = s.readAborted(); err != nil {
		return err
	}
	if out.ProducerSnapshot != nil {
		return nil
	}
	out.ProducerSnapshot, err = s.fs.ReadFile(segmentPath(s.dir, out.EndOffset, snapshotSuffix))
	if errors.Is(err, fs.ErrNotExist) { // a directory that Kafka wrote may lack it
		state, err := l.producersAt(out.EndOffset, time.Now())
		if err != nil {
			return err
		}
		out.ProducerSnapshot = state.encode()
		return nil
	}
	if err != nil {
		return fmt.Errorf("producer snapshot at %d: %w", out.EndOffset, storageError("reading", err))
	}
	return nil
}

// Release lets the files go. It is called once.
func (s *Sealed) Release() {
	s.s.release()
	s.Log = nil
}
