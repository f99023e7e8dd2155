package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The offset checkpoints of a Dir: version 0, count, one "topic partition offset" per line.
const (
	recoveryPointName = "recovery-point-offset-checkpoint" // below it nothing has to be recovered
	logStartName      = "log-start-offset-checkpoint"
	compactedName     = "cleaner-offset-checkpoint" // compaction has looked at all keys below it
)

// splitName splits "topic-0" into topic and partition.
func splitName(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[i+1:] {
		return "", 0, false
	}
	return name[:i], int32(n), true
}

// encodeOffsets writes an offset checkpoint of offsets by partition directory.
func encodeOffsets(offsets map[string]int64) []byte {
	names := make([]string, 0, len(offsets))
	for name := range offsets {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, "0\n%d\n", len(names))
	for _, name := range names {
		if topic, partition, ok := splitName(name); ok {
			fmt.Fprintf(&b, "%s %d %d\n", topic, partition, offsets[name])
		}
	}
	return b.Bytes()
}

func decodeOffsets(b []byte) (map[string]int64, error) {
	lines, err := checkpointLines(b)
	if err != nil {
		return nil, err
	}
	offsets := map[string]int64{}
	for _, line := range lines {
		var topic string
		var partition int32
		var offset int64
		if n, err := fmt.Sscanf(line, "%s %d %d", &topic, &partition, &offset); n != 3 || err != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		offsets[fmt.Sprintf("%s-%d", topic, partition)] = offset
	}
	return offsets, nil
}

// readOffsets reads an offset checkpoint. Without the file, or with a damaged one, there are no offsets: everything is recovered then.
func (d *Dir) readOffsets(name string) (map[string]int64, error) {
	path := filepath.Join(d.path, name)
	b, err := d.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]int64{}, nil
	}
	if err != nil {
		return nil, storageError("reading a checkpoint", err)
	}
	offsets, err := decodeOffsets(b)
	if err != nil {
		d.logger.Warn("checkpoint ignored", "path", path, "error", err)
		return map[string]int64{}, nil
	}
	return offsets, nil
}

// writeCheckpoints writes the checkpoints. Logs that were never opened keep what the old files say.
func (d *Dir) writeCheckpoints() error {
	if err := d.Failure(); err != nil {
		return err
	}
	d.checkpoints.Lock()
	defer d.checkpoints.Unlock()
	d.mu.Lock()
	logs := make([]*Log, 0, len(d.mu.logs))
	for _, l := range d.mu.logs {
		logs = append(logs, l)
	}
	recovery, start, compacted := d.unopenedLocked(d.recoveryPoints), d.unopenedLocked(d.logStarts), d.unopenedLocked(d.compacted)
	d.mu.Unlock()
	for _, l := range logs {
		recovery[l.name] = l.recoveryPoint()
		if l.LogStart() > 0 {
			start[l.name] = l.LogStart()
		}
		if offset := l.compacted.Load(); offset > 0 {
			compacted[l.name] = offset
		}
	}
	for _, c := range []struct {
		name    string
		offsets map[string]int64
		last    *[]byte
	}{{recoveryPointName, recovery, &d.written.recovery}, {logStartName, start, &d.written.start}, {compactedName, compacted, &d.written.compacted}} {
		b := encodeOffsets(c.offsets)
		if bytes.Equal(b, *c.last) || *c.last == nil && len(c.offsets) == 0 && c.name == compactedName {
			continue
		}
		if err := d.fs.WriteFile(filepath.Join(d.path, c.name), b, true); err != nil {
			return storageError("writing a checkpoint", err)
		}
		*c.last = b
	}
	return nil
}

// unopenedLocked returns the checkpointed offsets of directories that nobody has opened yet.
func (d *Dir) unopenedLocked(offsets map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for name, offset := range offsets {
		if _, present := d.mu.names[name]; present && d.mu.logs[name] == nil {
			out[name] = offset
		}
	}
	return out
}

// recoveryPoint returns the offset below which all files of the log are complete and durable: recovery begins there.
func (l *Log) recoveryPoint() int64 {
	if l.clean.Load() {
		return l.End()
	}
	v := l.view.Load()
	durable := l.Durable()
	for i, s := range v.segments {
		if i+1 == len(v.segments) || v.segments[i+1].base > durable || !s.sealedOnDisk() {
			return s.base
		}
	}
	return v.active().base
}
