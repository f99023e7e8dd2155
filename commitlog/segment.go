package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// The suffixes of a segment's files.
const (
	logSuffix      = ".log"
	indexSuffix    = ".index"
	timeSuffix     = ".timeindex"
	txnSuffix      = ".txnindex"
	snapshotSuffix = ".snapshot"
	deletedSuffix  = ".deleted"
)

// segment is one .log file with its indexes. The last segment of a view is active: the writer appends to it. A truncation
// replaces the segment object, so whatever a reader learned from one object stays true.
type segment struct {
	fs   *vfs.FS
	dir  string // the partition's directory
	base int64

	// tip is the published end: relative end offset in the upper, size in bytes in the lower 32 bits. Readers see both or neither of an append.
	tip      atomic.Uint64
	maxTs    atomic.Int64           // greatest timestamp so far, -1: none
	modified atomic.Int64           // unix ms of the last append
	aborted  atomic.Int32           // entries of .txnindex
	txns     atomic.Pointer[[]byte] // these entries while the file is not there yet
	mem      atomic.Pointer[index]
	damage   atomic.Pointer[CorruptionError] // found in the .log
	verified atomic.Int64                    // unix seconds of the last scrub, 0: none
	kept     atomic.Bool                     // one reference to the file is openFiles'
	used     atomic.Bool                     // it was written since the clock hand came by
	syncs    atomic.Int32                    // how often it was made durable while active
	tail     tail

	// The writer's own.
	w struct {
		maxTsOffset    int64 // last offset of the batch that has maxTs
		sinceIndex     int64 // bytes since the last index entry
		firstTimestamp int64 // max timestamp of the first batch, -1: none
		firstAppend    time.Time
		created        time.Time
		jitter         time.Duration
		ahead          ahead
	}

	// sealing guards the files that are written when the segment is sealed.
	sealing struct {
		sync.Mutex
		done     bool   // .index, .timeindex and the producer snapshot are on disk
		end      int64  // offset of the snapshot
		snapshot []byte // producer state at end, until done
		dropped  bool
	}

	mu struct {
		sync.Mutex
		file    *vfs.File // open while refs > 0
		refs    int
		dropped bool
	}
}

func newSegment(fsys *vfs.FS, dir string, base int64) *segment {
	s := &segment{fs: fsys, dir: dir, base: base}
	s.maxTs.Store(-1)
	s.w.maxTsOffset = base
	s.w.firstTimestamp = -1
	return s
}

func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

func (s *segment) path(suffix string) string { return segmentPath(s.dir, s.base, suffix) }

func (s *segment) publish(end, size int64) { s.tip.Store(uint64(end-s.base)<<32 | uint64(size)) }

// end returns the published end offset. Of a sealed segment the next one's base is the truth.
func (s *segment) end() int64 { return s.base + int64(s.tip.Load()>>32) }

// size returns the published size in bytes.
func (s *segment) size() int64 { return int64(s.tip.Load() & 0xffffffff) }

// acquire returns the open .log; the caller releases it once. errDropped: the segment is gone from the log.
func (s *segment) acquire() (*vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file == nil {
		if s.mu.dropped {
			return nil, errDropped
		}
		file, err := s.fs.OpenWrite(s.path(logSuffix))
		if err != nil {
			return nil, storageError("opening a segment", err)
		}
		s.mu.file = file
	}
	s.mu.refs++
	return s.mu.file, nil
}

// release gives back what acquire gave. The last one closes the file: nothing has to be flushed by close, the syncer has acquired it too.
func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.refs--; s.mu.refs == 0 {
		_ = s.mu.file.Close() // read only, or synced
		s.mu.file = nil
	}
}

// drop takes the segment out of the log: its files get the suffix .deleted, in an order in which a crash leaves no index without
// a .log. Those who have acquired it read on.
func (s *segment) drop() error {
	s.mu.Lock()
	s.mu.dropped = true
	s.mu.Unlock()
	s.tail.drop()
	s.rest()
	s.sealing.Lock()
	defer s.sealing.Unlock()
	s.sealing.dropped = true
	for _, suffix := range []string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		err := s.fs.Rename(s.path(suffix), s.path(suffix+deletedSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storageError("dropping a segment", err)
		}
	}
	return nil
}

// writable returns the index in memory, which the writer needs. REQUIRES: the writer.
func (s *segment) writable() (*index, error) {
	if x := s.mem.Load(); x != nil {
		return x, nil
	}
	x, err := s.loadIndex()
	if err != nil {
		return nil, err
	}
	s.mem.Store(x)
	return x, nil
}

func (s *segment) loadIndex() (*index, error) {
	x := &index{}
	var err error
	if x.offsets, err = s.fs.ReadFile(s.path(indexSuffix)); err != nil {
		return nil, storageError("loading an index", err)
	}
	if x.times, err = s.fs.ReadFile(s.path(timeSuffix)); err != nil {
		return nil, storageError("loading an index", err)
	}
	x.offsets = x.offsets[:validOffsets(x.offsets, s.size())]
	x.times = x.times[:validTimes(x.times)]
	return x, nil
}

// floor returns a position at or before the first batch that ends at or after offset.
func (s *segment) floor(offset int64) (int64, error) {
	if x := s.mem.Load(); x != nil {
		return x.floor(offset - s.base), nil
	}
	entry, i, err := s.searchIndex(indexSuffix, offsetEntrySize, offset-s.base, offsetKey)
	if err != nil || i < 0 {
		return 0, err
	}
	pos := offsetKey(entry[4:])
	if pos >= s.size() {
		return 0, nil // pre-allocated or damaged: the scan from the start is slow and right
	}
	return pos, nil
}

// timeFloor returns the greatest offset known to have a timestamp at or below ts with all before it, or base.
func (s *segment) timeFloor(ts int64) (int64, error) {
	if x := s.mem.Load(); x != nil {
		return s.base + x.timeFloor(ts), nil
	}
	entry, i, err := s.searchIndex(timeSuffix, timeEntrySize, ts, timeKey)
	if err != nil || i < 0 {
		return s.base, err
	}
	return s.base + offsetKey(entry[8:]), nil
}

// searchIndex searches an index file on disk.
func (s *segment) searchIndex(suffix string, entrySize int, target int64, key func([]byte) int64) (entry [timeEntrySize]byte, i int, err error) {
	s.mu.Lock()
	dropped := s.mu.dropped
	s.mu.Unlock()
	if dropped {
		return entry, -1, errDropped
	}
	file, err := s.fs.Open(s.path(suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return entry, -1, nil // dropped meanwhile: the read that follows notices
	}
	if err != nil {
		return entry, -1, storageError("searching an index", err)
	}
	size, err := file.Size()
	if err == nil {
		entry, i, err = searchFile(file, int(size)/entrySize, entrySize, target, key)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return entry, -1, storageError("searching an index", err)
	}
	return entry, i, nil
}

// located is where a batch lies.
type located struct {
	pos, length int64
	base        int64 // its first offset
}

// locate finds the first batch that ends at or after offset, below size bytes. Without one, pos is size.
func (s *segment) locate(offset, size int64) (at located, found bool, err error) {
	start, err := s.floor(offset)
	if err != nil {
		return at, false, err
	}
	h := headerScan{s: s, pos: start, end: size}
	defer h.close()
	for h.next() {
		if h.batch.LastOffset() >= offset {
			return located{h.at, h.batch.Size(), h.batch.BaseOffset()}, true, nil
		}
	}
	return located{pos: size}, false, h.err
}

// readBatch reads the batch at pos into memory.
func (s *segment) readBatch(pos, length int64) (record.Batch, error) {
	file, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	b := make([]byte, length)
	if _, err := file.ReadAt(b, pos); err != nil {
		if err == io.EOF {
			return nil, &CorruptionError{s.path(logSuffix), pos, -1, "batch cut short"}
		}
		return nil, storageError("reading a segment", err)
	}
	return record.Batch(b), nil
}
