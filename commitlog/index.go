package commitlog

import (
	"encoding/binary"
	"io"
	"slices"
	"sort"
	"sync"
)

const (
	offsetEntrySize = 8  // bytes: relative last offset of a batch int32, position of the batch int32
	timeEntrySize   = 12 // bytes: timestamp int64, relative last offset int32
)

// index is the offset and time index of a segment in memory, in the bytes of .index and .timeindex. The writer adds
// entries, readers search.
type index struct {
	mu      sync.RWMutex
	offsets []byte
	times   []byte
}

// add makes the entries of a batch that is about to be counted: its own position, and the greatest timestamp so far.
func (x *index) add(rel uint32, pos uint32, maxTs int64, maxTsRel uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.offsets = binary.BigEndian.AppendUint32(x.offsets, rel)
	x.offsets = binary.BigEndian.AppendUint32(x.offsets, pos)
	x.addTimeLocked(maxTs, maxTsRel)
}

// addTime adds a time entry unless the timestamp is not greater than the last entry's.
func (x *index) addTime(ts int64, rel uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.addTimeLocked(ts, rel)
}

func (x *index) addTimeLocked(ts int64, rel uint32) {
	last := int64(-1)
	if n := len(x.times); n > 0 {
		last = int64(binary.BigEndian.Uint64(x.times[n-timeEntrySize:]))
	}
	if ts > last {
		x.times = binary.BigEndian.AppendUint64(x.times, uint64(ts))
		x.times = binary.BigEndian.AppendUint32(x.times, rel)
	}
}

// entries returns the number of entries of both indexes.
func (x *index) entries() (offsets, times int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.offsets) / offsetEntrySize, len(x.times) / timeEntrySize
}

// bytes returns copies of both indexes.
func (x *index) bytes() (offsets, times []byte) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Clone(x.offsets), slices.Clone(x.times)
}

// floor returns the position of the last batch that ends at or below rel, 0 when there is none.
func (x *index) floor(rel int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(x.offsets) / offsetEntrySize
	i := sort.Search(n, func(i int) bool { return int64(binary.BigEndian.Uint32(x.offsets[i*offsetEntrySize:])) > rel })
	if i == 0 {
		return 0
	}
	return int64(binary.BigEndian.Uint32(x.offsets[(i-1)*offsetEntrySize+4:]))
}

// timeFloor returns the relative offset of the last entry at or below ts, 0 when there is none.
func (x *index) timeFloor(ts int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(x.times) / timeEntrySize
	i := sort.Search(n, func(i int) bool { return int64(binary.BigEndian.Uint64(x.times[i*timeEntrySize:])) > ts })
	if i == 0 {
		return 0
	}
	return int64(binary.BigEndian.Uint32(x.times[(i-1)*timeEntrySize+8:]))
}

// searchFile finds the last of n entries of a sorted index file whose key is at most target, or -1. key decodes one entry.
func searchFile(r io.ReaderAt, n, entrySize int, target int64, key func([]byte) int64) (entry [timeEntrySize]byte, i int, err error) {
	var probe [timeEntrySize]byte
	lo, hi := 0, n // the answer is in [lo-1, hi)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if _, err := r.ReadAt(probe[:entrySize], int64(mid)*int64(entrySize)); err != nil {
			return entry, -1, err
		}
		if key(probe[:entrySize]) > target {
			hi = mid
		} else {
			lo, entry = mid+1, probe
		}
	}
	return entry, lo - 1, nil
}

func offsetKey(e []byte) int64 { return int64(binary.BigEndian.Uint32(e)) }
func timeKey(e []byte) int64   { return int64(binary.BigEndian.Uint64(e)) }

// validOffsets returns how many bytes of an .index file are entries in order for a segment of size bytes. What Kafka
// pre-allocated behind them is zeros, which are not.
func validOffsets(b []byte, size int64) int {
	valid, lastRel, lastPos := 0, int64(-1), int64(-1)
	for valid+offsetEntrySize <= len(b) {
		rel, pos := offsetKey(b[valid:]), offsetKey(b[valid+4:])
		if rel <= lastRel || pos <= lastPos || pos >= size {
			break
		}
		valid, lastRel, lastPos = valid+offsetEntrySize, rel, pos
	}
	return valid
}

// validTimes returns how many bytes of a .timeindex file are entries in order.
func validTimes(b []byte) int {
	valid, lastTs, lastRel := 0, int64(-1), int64(-1)
	for valid+timeEntrySize <= len(b) {
		ts, rel := timeKey(b[valid:]), offsetKey(b[valid+8:])
		if ts <= lastTs || rel < lastRel {
			break
		}
		valid, lastTs, lastRel = valid+timeEntrySize, ts, rel
	}
	return valid
}
