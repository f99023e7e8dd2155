package commitlog

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// The suffixes of files in the middle of Kafka's compaction.
const (
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"
)

// tidy removes what a crash left over, finishes replacements of segments that had begun, and returns the bases of the segments, ascending.
func (l *Log) tidy() ([]int64, error) {
	names, err := l.list()
	if err != nil {
		return nil, err
	}
	cleaned := int64(math.MaxInt64) // replacements at or above the first cleaned segment were not complete
	for _, name := range names {
		if whole, ok := strings.CutSuffix(name, cleanedSuffix); ok {
			if base, ok := anyBase(whole); ok {
				cleaned = min(cleaned, base)
			}
		}
	}
	var swaps []string
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, deletedSuffix), strings.HasSuffix(name, cleanedSuffix), strings.HasSuffix(name, ".tmp"):
			err = l.dir.fs.Remove(filepath.Join(l.path, name))
		case strings.HasSuffix(name, swapSuffix):
			if base, ok := anyBase(strings.TrimSuffix(name, swapSuffix)); !ok || base >= cleaned {
				err = l.dir.fs.Remove(filepath.Join(l.path, name))
			} else {
				swaps = append(swaps, name)
			}
		}
		if err != nil {
			return nil, storageError("removing leftovers", err)
		}
	}
	if err := l.swapIn(names, swaps); err != nil {
		return nil, err
	}
	return l.bases()
}

// swapIn finishes a replacement: the segments in the range of the .swap ones go, then these take their names.
func (l *Log) swapIn(names, swaps []string) error {
	from, to := int64(math.MaxInt64), int64(-1)
	for _, name := range swaps {
		base, ok := baseOf(strings.TrimSuffix(name, swapSuffix), logSuffix)
		if !ok {
			continue
		}
		s := newSegment(l.dir.fs, l.path, base)
		end, err := s.swapEnd(filepath.Join(l.path, name))
		if err != nil {
			return err
		}
		from, to = min(from, base), max(to, end)
	}
	for _, name := range names {
		if base, ok := anyBase(name); ok && base >= from && base < to && !strings.HasSuffix(name, snapshotSuffix) {
			if err := l.dir.fs.Remove(filepath.Join(l.path, name)); err != nil {
				return storageError("replacing a segment", err)
			}
		}
	}
	for _, name := range swaps {
		path := filepath.Join(l.path, name)
		if err := l.dir.fs.Rename(path, strings.TrimSuffix(path, swapSuffix)); err != nil {
			return storageError("replacing a segment", err)
		}
	}
	return nil
}

// swapEnd returns the offset behind the last batch of a .log.swap.
func (s *segment) swapEnd(path string) (int64, error) {
	file, err := s.fs.Open(path)
	if err != nil {
		return 0, storageError("replacing a segment", err)
	}
	size, err := file.Size()
	scan := batchScan{file: file, end: size}
	end := s.base + 1
	for err == nil && scan.next() {
		end = scan.batch.LastOffset() + 1
	}
	if err = errors.Join(err, scan.err, file.Close()); err != nil {
		return 0, storageError("replacing a segment", err)
	}
	return end, nil
}

// bases lists the segments, and removes index files without a .log.
func (l *Log) bases() (bases []int64, err error) {
	names, err := l.list()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if base, ok := baseOf(name, logSuffix); ok {
			bases = append(bases, base)
		}
	}
	for _, name := range names {
		base, ok := anyBase(name)
		if !ok || strings.HasSuffix(name, logSuffix) || strings.HasSuffix(name, snapshotSuffix) {
			continue
		}
		if _, found := slices.BinarySearch(bases, base); !found {
			if err := l.dir.fs.Remove(filepath.Join(l.path, name)); err != nil {
				return nil, storageError("removing leftovers", err)
			}
		}
	}
	return bases, nil
}

func (l *Log) list() ([]string, error) {
	entries, err := l.dir.fs.ReadDir(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storageError("listing a log", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// anyBase parses the offset in the name of any file of a segment.
func anyBase(name string) (int64, bool) {
	for _, suffix := range []string{logSuffix, indexSuffix, timeSuffix, txnSuffix, snapshotSuffix} {
		if base, ok := baseOf(name, suffix); ok {
			return base, true
		}
	}
	return 0, false
}
