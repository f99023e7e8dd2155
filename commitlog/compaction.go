package commitlog

import (
	"time"

	"varve/commitlog/record"
)

// Compaction is the configuration of a log's compaction, resolved from the topic's. Nobody compacts a log whose topic does not ask for it: that is the
// caller's to know.
type Compaction struct {
	MinDirtyRatio   float64       // min.cleanable.dirty.ratio
	MinLag          time.Duration // min.compaction.lag.ms
	MaxLag          time.Duration // max.compaction.lag.ms
	DeleteRetention time.Duration // delete.retention.ms
}

// Dirty says what compaction would read of a log, [From, To), and how urgent it is.
type Dirty struct {
	From, To int64   // offsets: From ends what was compacted before; To is a segment's base
	Bytes    int64   // of the segments that hold [From, To)
	Ratio    float64 // Bytes to all bytes below To
	Due      bool    // the ratio is above the topic's, or a record is older than max.compaction.lag.ms
}

// Dirty looks what there is to compact below stable, the last stable offset, at now.
func (l *Log) Dirty(stable int64, now time.Time) Dirty {
	v, cfg := l.view.Load(), l.cfg.Load().Compaction
	d := Dirty{From: max(l.compacted.Load(), l.localStart(v))}
	d.To = d.From
	clean, overdue := int64(0), false
	for i, s := range v.segments[:len(v.segments)-1] {
		end := v.endOf(i)
		if end <= d.From {
			clean += s.size()
			continue
		}
		young := cfg.MinLag > 0 && now.Sub(time.UnixMilli(s.maxTs.Load())) < cfg.MinLag
		if young || end > stable || end > l.Durable() || !s.sealedOnDisk() {
			break
		}
		d.To, d.Bytes = end, d.Bytes+s.size()
		overdue = overdue || cfg.MaxLag > 0 && olderThan(s, now.Add(-cfg.MaxLag))
	}
	if d.Bytes > 0 {
		d.Ratio = float64(d.Bytes) / float64(clean+d.Bytes)
	}
	d.Due = d.Bytes > 0 && (d.Ratio > cfg.MinDirtyRatio || overdue)
	return d
}

// olderThan reports whether the first batch of a segment is from before t.
func olderThan(s *segment, t time.Time) bool {
	if s.size() < record.HeaderSize {
		return false
	}
	b, err := s.readBatch(0, record.HeaderSize)
	return err == nil && b.MaxTimestamp() >= 0 && time.UnixMilli(b.MaxTimestamp()).Before(t)
}

// groups splits the segments to compact into runs, each of which becomes one: they fit into segment.bytes and the offsets of an index together.
func groups(segments []*segment, ends []int64, maxBytes int64) [][]*segment {
	var out [][]*segment
	for len(segments) > 0 {
		n, bytes := 1, segments[0].size()
		for n < len(segments) && bytes+segments[n].size() <= maxBytes && ends[n]-segments[0].base <= maxRelativeOffset {
			bytes += segments[n].size()
			n++
		}
		out = append(out, segments[:n:n])
		segments, ends = segments[n:], ends[n:]
	}
	return out
}

// maxRelativeOffset bounds the offsets of a segment: an index counts them in 31 bits.
const maxRelativeOffset = 1<<31 - 1
