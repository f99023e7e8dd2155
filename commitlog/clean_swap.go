package commitlog

import (
	"slices"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// A replacement is what is left of a run of segments, as it is written to BASE.log.cleaned. Its file takes these names, each durable before the next step:
//
//	BASE.log.cleaned   a crash removes it
//	BASE.log.swap      a crash finishes the replacement: the old segments go (tidy.go)
//	BASE.log           the old segments are .deleted
//
// Its index files are written last, as for any sealed segment; without them it is recovered.
type replacement struct {
	s       *segment
	x       *index
	file    *vfs.File
	buf     []byte // not written yet
	size    int64  // with buf
	txns    []byte
	changed bool // something is not as it was
}

const replacementBuffer = 1 << 20

// rewrite compacts a run of segments that ends at end into one.
func (p *cleanPass) rewrite(olds []*segment, end int64) error {
	return p.l.replace(olds, end, func(r *replacement) error {
		for _, s := range olds {
			if err := p.scan(s, s.base, func(b record.Batch) error { return p.copy(r, b) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// replace puts what fill writes in the place of a run of segments that ends at end, unless it is the same.
func (l *Log) replace(olds []*segment, end int64, fill func(r *replacement) error) (err error) {
	r := &replacement{s: newSegment(l.dir.fs, l.path, olds[0].base), x: &index{}, changed: len(olds) > 1}
	path := r.s.path(logSuffix + cleanedSuffix)
	if r.file, err = l.dir.fs.Create(path); err != nil {
		return storageError("rewriting a segment", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = r.file.Close()        // void
			_ = l.dir.fs.Remove(path) // else the next start does it
		}
	}()
	if err := r.file.Truncate(0); err != nil {
		return storageError("rewriting a segment", err)
	}
	if err := fill(r); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	if !r.changed {
		return nil
	}
	if err := r.file.Sync(); err != nil {
		l.dir.fail(storageError("rewriting a segment", err)) // a sync is not tried again
		return l.dir.Failure()
	}
	r.finish(olds, end)
	keep, err = l.swap(olds, r)
	return err
}

// copy writes what stays of a batch.
func (p *cleanPass) copy(r *replacement, b record.Batch) error {
	out, aborted, err := p.filter(b)
	if err != nil {
		return err
	}
	if aborted != nil {
		r.txns = aborted.append(r.txns)
	}
	r.changed = r.changed || len(out) != len(b) || !slices.Equal(out, b)
	if out == nil {
		return nil
	}
	if err := p.o.Throttle(len(out)); err != nil {
		return err
	}
	return r.add(out, p.l.cfg.Load().IndexIntervalBytes)
}

// add appends a batch; many are written together.
func (r *replacement) add(b record.Batch, indexInterval int64) error {
	r.s.count(r.x, b, r.size, indexInterval)
	r.buf = append(r.buf, b...)
	r.size += int64(len(b))
	if len(r.buf) < replacementBuffer {
		return nil
	}
	return r.flush()
}

func (r *replacement) flush() error {
	if _, err := r.file.WriteAt(r.buf, r.size-int64(len(r.buf))); err != nil {
		return storageError("rewriting a segment", err)
	}
	r.buf = r.buf[:0]
	return nil
}

// finish makes the segment readable through its open file.
func (r *replacement) finish(olds []*segment, end int64) {
	s := r.s
	r.x.addTime(s.maxTs.Load(), uint32(s.w.maxTsOffset-s.base))
	s.mem.Store(r.x)
	s.publish(min(end, s.base+maxRelativeOffset), r.size)
	s.modified.Store(olds[len(olds)-1].modified.Load())
	s.txns.Store(&r.txns)
	s.aborted.Store(int32(len(r.txns) / txnEntrySize))
	s.sealing.end = end
	s.mu.file, s.mu.refs = r.file, 1
}

// swap puts r in the place of olds. taken: the file is the log's now.
func (l *Log) swap(olds []*segment, r *replacement) (taken bool, err error) {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.writable(); err != nil {
		return false, err
	}
	if i := slices.Index(l.view.Load().segments, olds[0]); i < 0 || !slices.Equal(l.view.Load().segments[i:i+len(olds)], olds) {
		return false, errChanged
	}
	s := r.s
	log := s.path(logSuffix)
	err = l.dir.fs.Rename(log+cleanedSuffix, log+swapSuffix)
	if err == nil {
		err = l.dir.fs.SyncDir(l.path)
	}
	if err == nil {
		l.change(func(v *view) *view {
			i := slices.Index(v.segments, olds[0])
			return v.with(slices.Concat(v.segments[:i], []*segment{s}, v.segments[i+len(olds):])...)
		})
		err = l.takeNames(olds, s)
	}
	if err != nil {
		l.dir.fail(storageError("rewriting a segment", err))
		return true, l.dir.Failure()
	}
	s.release()
	l.dir.keeper.seal(l, s)
	for _, old := range olds {
		l.removeDeleted(old)
	}
	return true, l.removeSnapshots(func(at int64) bool {
		return slices.ContainsFunc(olds[1:], func(old *segment) bool { return old.base == at })
	})
}

// takeNames drops the old segments and gives the new one its name.
func (l *Log) takeNames(olds []*segment, s *segment) error {
	for _, old := range olds {
		if err := old.drop(); err != nil {
			return err
		}
	}
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		return err
	}
	log := s.path(logSuffix)
	if err := l.dir.fs.Rename(log+swapSuffix, log); err != nil {
		return err
	}
	if err := s.replaceTxnIndex(*s.txns.Load()); err != nil {
		return err
	}
	s.txns.Store(nil)
	return l.dir.fs.SyncDir(l.path)
}
