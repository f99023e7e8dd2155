package commitlog

import (
	"errors"
	"io"

	"varve/internal/vfs"
)

// A sync of a file that has grown waits for the file system's journal; one of a file whose bytes were only written over does not, and takes half the
// time. So behind the end of an active segment that is synced often for a little, the writer puts zeros now and then, ahead of what will be
// appended. They are cut off when the segment is sealed or closed, and recovery takes them for the end. See docs/design/0001-group-commit.md.

// aheadRule says when zeros are written ahead: once for each bytes appended, if these took at least syncs syncs.
type aheadRule struct {
	bytes int64
	syncs int32
}

// aheadDefault costs a log that has less than its bytes nothing, and a busy log, whose syncs have much to write, nothing either.
var aheadDefault = aheadRule{bytes: int64(len(zeros)), syncs: 4}

var zeros [128 << 10]byte

// ahead is what the writer knows of the zeros behind its active segment's end.
type ahead struct {
	due   int64 // size at which the next ones are decided on
	until int64 // the file may have zeros up to here
	syncs int32 // segment.syncs at the last decision
}

// reset starts anew for a segment of size bytes without zeros.
func (a *ahead) reset(size int64, rule aheadRule) { *a = ahead{due: size + rule.bytes} }

// writeAhead decides on zeros behind the published end, and writes them. Want of space is no reason to fail: they are only there for speed. REQUIRES: the writer.
func (l *Log) writeAhead(s *segment, file *vfs.File) {
	rule, size, a := l.dir.ahead, s.size(), &s.w.ahead
	if size < a.due || l.dir.durability == Async {
		return
	}
	syncs := s.syncs.Load()
	often := syncs-a.syncs >= rule.syncs
	a.syncs, a.due = syncs, size+rule.bytes
	if !often {
		return
	}
	a.until = size + rule.bytes
	_, err := file.WriteAt(zeros[:rule.bytes], size)
	if noSpace(err) {
		err = l.cutAhead(s)
	}
	if err != nil {
		l.dir.fail(storageError("writing ahead of the end of "+s.path(logSuffix), err))
	}
}

// cutAhead cuts the zeros off. REQUIRES: the writer, or that there is none any more.
func (l *Log) cutAhead(s *segment) error {
	size := s.size()
	if s.w.ahead.until <= size {
		return nil
	}
	file, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	if err := file.Truncate(size); err != nil {
		return storageError("cutting off the zeros behind "+s.path(logSuffix), err)
	}
	s.w.ahead.until = size
	return nil
}

// onlyZeros reports whether [pos, end) of file is what writeAhead may have left.
func onlyZeros(file io.ReaderAt, pos, end int64) bool {
	b := make([]byte, min(end-pos, int64(len(zeros))+1))
	if _, err := file.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) || len(b) > len(zeros) {
		return false
	}
	return [len(zeros)]byte(append(b, zeros[len(b):]...)) == zeros
}
