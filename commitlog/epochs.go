package commitlog

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"sort"
	"sync"
)

// EpochEntry says that leader epoch Epoch began at StartOffset.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

const epochCheckpointName = "leader-epoch-checkpoint"

// epochCache is Kafka's LeaderEpochFileCache: which leader epoch began where. Epochs and offsets ascend. The syncer writes it to
// leader-epoch-checkpoint before it lets data of a new epoch count as durable, so the file never lacks an epoch of durable data;
// entries that a crash left beyond the log are cut when the log is opened.
type epochCache struct {
	mu struct {
		sync.Mutex
		entries []EpochEntry
		dirty   bool // entries differ from the file
	}
}

// assign records that epoch begins at offset, and forgets what contradicts it. Epochs below 0 are ignored, and one that goes on.
func (c *epochCache) assign(epoch int32, offset int64) (changed bool) {
	if epoch < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	if n := len(e); n > 0 && e[n-1].Epoch == epoch && offset >= e[n-1].StartOffset {
		return false
	}
	for len(e) > 0 && (e[len(e)-1].Epoch >= epoch || e[len(e)-1].StartOffset >= offset) {
		e = e[:len(e)-1]
	}
	c.mu.entries = append(e, EpochEntry{epoch, offset})
	c.mu.dirty = true
	return true
}

// latest returns the newest epoch, -1 without one.
func (c *epochCache) latest() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.mu.entries); n > 0 {
		return c.mu.entries[n-1].Epoch
	}
	return -1
}

// truncateFromEnd forgets epochs that begin at or after offset.
func (c *epochCache) truncateFromEnd(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	for len(e) > 0 && e[len(e)-1].StartOffset >= offset {
		e = e[:len(e)-1]
	}
	c.mu.dirty = c.mu.dirty || len(e) != len(c.mu.entries)
	c.mu.entries = e
}

// truncateFromStart forgets epochs that end at or before offset; the one that covers it begins there from now on.
func (c *epochCache) truncateFromStart(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	n := sort.Search(len(e), func(i int) bool { return e[i].StartOffset > offset })
	if n == 0 || e[n-1].StartOffset == offset && n == 1 {
		return
	}
	e = slices.Clone(e[n-1:])
	e[0].StartOffset = offset
	c.mu.entries, c.mu.dirty = e, true
}

// endFor is Kafka's endOffsetFor: the greatest epoch at or below the asked one and where it ends; (-1, -1) when unknown.
func (c *epochCache) endFor(epoch int32, logEnd int64) (int32, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	if epoch < 0 || len(e) == 0 {
		return -1, -1
	}
	if e[len(e)-1].Epoch == epoch {
		return epoch, logEnd
	}
	higher := sort.Search(len(e), func(i int) bool { return e[i].Epoch > epoch })
	switch {
	case higher == len(e):
		return -1, -1
	case higher == 0:
		return epoch, e[0].StartOffset
	}
	return e[higher-1].Epoch, e[higher].StartOffset
}

// at returns the epoch of offset, -1 when unknown.
func (c *epochCache) at(offset int64) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	n := sort.Search(len(e), func(i int) bool { return e[i].StartOffset > offset })
	if n == 0 {
		return -1
	}
	return e[n-1].Epoch
}

// below returns the entries that begin below offset.
func (c *epochCache) below(offset int64) []EpochEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.entries
	return slices.Clone(e[:sort.Search(len(e), func(i int) bool { return e[i].StartOffset >= offset })])
}

func (c *epochCache) all() []EpochEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mu.entries)
}

func (c *epochCache) set(entries []EpochEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.entries, c.mu.dirty = slices.Clone(entries), true
}

// takeDirty returns the entries if the file has to be written; the caller writes it, or marks it dirty again.
func (c *epochCache) takeDirty() ([]EpochEntry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.dirty {
		return nil, false
	}
	c.mu.dirty = false
	return slices.Clone(c.mu.entries), true
}

// unsaved reports whether the file is out of date.
func (c *epochCache) unsaved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.dirty
}

func (c *epochCache) markDirty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.dirty = true
}

// encodeEpochs writes leader-epoch-checkpoint: version 0, count, one "epoch offset" per line.
func encodeEpochs(entries []EpochEntry) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "0\n%d\n", len(entries))
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %d\n", e.Epoch, e.StartOffset)
	}
	return b.Bytes()
}

func decodeEpochs(b []byte) ([]EpochEntry, error) {
	lines, err := checkpointLines(b)
	if err != nil {
		return nil, err
	}
	var entries []EpochEntry
	for _, line := range lines {
		var e EpochEntry
		if n, err := fmt.Sscanf(line, "%d %d", &e.Epoch, &e.StartOffset); n != 2 || err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		if n := len(entries); n > 0 && (e.Epoch <= entries[n-1].Epoch || e.StartOffset < entries[n-1].StartOffset) {
			return nil, fmt.Errorf("line %q is out of order", line)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// checkpointLines checks the frame of Kafka's checkpoint files, version 0 and the number of lines, and returns the lines.
func checkpointLines(b []byte) ([]string, error) {
	s := bufio.NewScanner(bytes.NewReader(b))
	var version, count int
	if !s.Scan() {
		return nil, fmt.Errorf("empty checkpoint")
	}
	if _, err := fmt.Sscanf(s.Text(), "%d", &version); err != nil || version != 0 {
		return nil, fmt.Errorf("unknown checkpoint version %q", s.Text())
	}
	if !s.Scan() {
		return nil, fmt.Errorf("checkpoint without a count")
	}
	if _, err := fmt.Sscanf(s.Text(), "%d", &count); err != nil {
		return nil, fmt.Errorf("malformed count %q", s.Text())
	}
	var lines []string
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if len(lines) != count {
		return nil, fmt.Errorf("%d lines, not the %d announced", len(lines), count)
	}
	return lines, s.Err()
}
