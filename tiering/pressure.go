package tiering

import (
	"cmp"
	"context"
	"slices"

	"varve/metadata"
	"varve/replica"
)

const (
	// minFreeShare of a volume, at most minFreeBytes, is kept free when MinFree does not say.
	minFreeShare = 10
	minFreeBytes = 10 << 30
)

// A localCopy is a sealed local segment that is live in the bucket.
type localCopy struct {
	partition metadata.TopicPartition
	end       int64 // offset
	bytes     int64
	written   int64 // ms
}

// minFree is how many bytes of a volume of total bytes are kept free.
func minFree(configured, total int64) int64 {
	if configured >= 0 {
		return configured
	}
	return min(total/minFreeShare, minFreeBytes)
}

// relief picks what leaves the disk so that need bytes come free, the oldest copies first: for each partition the offset below which its local
// segments go, and how many bytes these hold, fewer than need when there are no more.
func relief(copies []localCopy, need int64) (trim map[metadata.TopicPartition]int64, bytes int64) {
	slices.SortStableFunc(copies, func(a, b localCopy) int { return cmp.Compare(a.written, b.written) })
	trim = map[metadata.TopicPartition]int64{}
	for _, c := range copies {
		if bytes >= need {
			break
		}
		trim[c.partition] = max(trim[c.partition], c.end)
		bytes += c.bytes
	}
	return trim, bytes
}

// copies lists the local segments, from the oldest on, that are live in the bucket.
func (h holdings) copies(tp metadata.TopicPartition) []localCopy {
	var out []localCopy
	tiered := tieredEnd(h.remote)
	for _, s := range h.local {
		if !s.Sealed || s.EndOffset > tiered || !h.live(s) {
			break
		}
		out = append(out, localCopy{tp, s.EndOffset, s.Bytes, s.Modified.UnixMilli()})
	}
	return out
}

// relieve trims local copies where a log directory's volume has too little space left, beyond what local retention keeps. When there are no copies
// left, producing goes on until the volume is full, and is refused then.
func (m *Manager) relieve(ctx context.Context) {
	byDir := map[string][]*replica.Partition{}
	m.cfg.Partitions.All(func(p *replica.Partition) { byDir[p.Log().DirPath()] = append(byDir[p.Log().DirPath()], p) })
	for dir, partitions := range byDir {
		total, usable := m.cfg.Space(dir)
		need := minFree(m.cfg.MinFree, total) - usable
		low := total >= 0 && need > 0
		if low {
			m.relieveDir(ctx, dir, partitions, need)
		} else if m.pressed[dir] {
			m.log.Info("the log directory has space again", "dir", dir, "free_bytes", usable)
		}
		m.pressed[dir] = low
	}
}

func (m *Manager) relieveDir(ctx context.Context, dir string, partitions []*replica.Partition, need int64) {
	var copies []localCopy
	byKey := map[metadata.TopicPartition]*replica.Partition{}
	for _, p := range partitions {
		if p.Log().Sealed() == 0 || !p.Config().RemoteStorage {
			continue
		}
		rows, err := m.catalog.ensure(ctx, p.Key())
		if err != nil {
			continue // uploads and retention tell of that
		}
		h := holdings{config: p.Config(), logStart: p.Offsets().LogStart, local: p.Log().Segments(), remote: rows}
		copies = append(copies, h.copies(p.Key())...)
		byKey[p.Key()] = p
	}
	trim, bytes := relief(copies, need)
	if bytes < need && !m.pressed[dir] {
		m.log.Warn("the log directory is nearly full, and no more segments are in the bucket whose local copies could go: make space, or let the bucket catch up",
			"dir", dir, "missing_bytes", need-bytes)
	}
	for tp, offset := range trim {
		if err := m.trim(byKey[tp], offset); err != nil {
			m.metrics.errors.WithLabelValues("trim").Inc()
			m.log.Warn("a nearly full disk could not be relieved; it will be tried again", "partition", tp.String(), "error", err)
		}
	}
	if bytes > 0 {
		m.metrics.relieved.Add(float64(bytes))
		m.log.Warn("the log directory is nearly full: local copies of segments that are in the bucket went before local retention says so", "dir", dir, "bytes", bytes)
	}
}
