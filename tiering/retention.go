package tiering

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/internal/config"
	"varve/metadata"
	"varve/replica"
)

// doomShare and doomAtLeast brake a pass that a clock jump or a slip of the settings sets off: it dooms at most this share of a
// partition's live segments, but always some.
const (
	doomShare   = 4 // a quarter
	doomAtLeast = 16
)

// holdings is all that retention decides about: one partition's segments in both tiers, as of one moment.
type holdings struct {
	now        time.Time
	config     *config.Topic
	logStart   int64
	stable     int64 // nothing at or above it is deleted: the last stable offset
	local      []commitlog.SegmentInfo
	remote     []metadata.RemoteSegment
	hasBucket  bool
	hasCatalog bool // remote is known; without it only nothing is decided for a tiered topic
}

// A verdict is what goes, and why.
type verdict struct {
	logStart int64       // the new log start, at least the old one
	doom     []uuid.UUID // live segments wholly below logStart
	trim     int64       // local segments that end at or below it go
	reason   string      // of the log start's move: "retention.ms", "retention.bytes", or "log start" when it had moved before
}

// decide is retention: what is older or more than the topic keeps goes from the old end of both tiers together, whole segments only, and of the
// rest the local copies that are live in the bucket and that local retention does not keep.
func decide(h holdings) verdict {
	v := verdict{logStart: h.logStart, reason: "log start"}
	if h.config.RemoteStorage && !h.hasCatalog {
		return v
	}
	tiered := tieredEnd(h.remote)
	spans := h.spans(tiered)
	total := int64(0)
	for _, s := range spans {
		total += s.bytes
	}
	doomed := 0
	most := max(doomAtLeast, len(h.remote)/doomShare)
	for _, s := range spans {
		reason := h.expired(s, total)
		if reason == "" || s.end > h.stable || s.remote && doomed == most {
			break
		}
		if s.end > v.logStart {
			v.logStart, v.reason = s.end, reason
		}
		if s.remote {
			v.doom = append(v.doom, s.id)
			doomed++
		}
		total -= s.bytes
	}
	v.trim = v.logStart
	if h.config.RemoteStorage {
		v.trim = max(v.trim, h.trimTo(tiered))
	}
	return v
}

// A span is one segment in the tier where it counts: in the bucket if it is live there, else on local disk.
type span struct {
	end, bytes   int64
	maxTimestamp int64 // ms, -1: unknown
	written      time.Time
	remote       bool
	id           uuid.UUID
}

// spans lists the segments by offset, each once. The active segment is not among them.
func (h holdings) spans(tiered int64) []span {
	var out []span
	for _, s := range h.remote {
		out = append(out, span{s.EndOffset, s.LogBytes, s.MaxTimestamp, s.ChangedAt, true, s.ID})
	}
	for _, s := range h.local {
		if s.Sealed && s.EndOffset > tiered {
			out = append(out, span{end: s.EndOffset, bytes: s.Bytes, maxTimestamp: s.MaxTimestamp, written: s.Modified})
		}
	}
	return out
}

// expired says why a segment goes, "" when it stays. total is what is kept so far, this segment included.
func (h holdings) expired(s span, total int64) string {
	switch c := h.config; {
	case s.end <= h.logStart:
		return "log start"
	case !c.CleanupDelete:
		return ""
	case c.RetentionMs >= 0 && h.age(s.maxTimestamp, s.written) > time.Duration(c.RetentionMs)*time.Millisecond:
		return "retention.ms"
	case c.RetentionBytes >= 0 && total+h.active()-s.bytes >= c.RetentionBytes:
		return "retention.bytes"
	}
	return ""
}

// active is the size of the active segment, which counts and never goes.
func (h holdings) active() int64 {
	if n := len(h.local); n > 0 && !h.local[n-1].Sealed {
		return h.local[n-1].Bytes
	}
	return 0
}

// age is how long ago the newest record of a segment was stamped, or without records the segment was written.
func (h holdings) age(maxTimestamp int64, written time.Time) time.Duration {
	if maxTimestamp >= 0 {
		written = time.UnixMilli(maxTimestamp)
	}
	return h.now.Sub(written)
}

// trimTo returns up to where local copies go that are live in the bucket: the oldest first, while they are older or more than
// local retention keeps. Without a catalog: what would go if all of it were live.
func (h holdings) trimTo(tiered int64) int64 {
	total := int64(0)
	for _, s := range h.local {
		total += s.Bytes
	}
	to := int64(0)
	for _, s := range h.local {
		if !s.Sealed || s.EndOffset > tiered || h.hasCatalog && !h.live(s) {
			break
		}
		old := h.config.LocalRetentionMs >= 0 && h.age(s.MaxTimestamp, s.Modified) > time.Duration(h.config.LocalRetentionMs)*time.Millisecond
		much := h.config.LocalRetentionBytes >= 0 && total-s.Bytes >= h.config.LocalRetentionBytes
		if !old && !much {
			break
		}
		to, total = s.EndOffset, total-s.Bytes
	}
	return to
}

// live reports whether every offset of a local segment from the log start on is live in the bucket.
func (h holdings) live(s commitlog.SegmentInfo) bool {
	at := max(s.BaseOffset, h.logStart)
	for i := segmentOf(h.remote, at); i < len(h.remote) && at < s.EndOffset && h.remote[i].BaseOffset <= at; i++ {
		at = h.remote[i].EndOffset
	}
	return at >= s.EndOffset
}

// retain applies retention to one partition: first Postgres, then the local files. The objects go later (sweep).
func (m *Manager) retain(ctx context.Context, p *replica.Partition) error {
	if !p.Leading() || p.Log().Untouched() {
		return nil
	}
	offsets := p.Offsets()
	h := holdings{now: time.Now(), config: p.Config(), logStart: offsets.LogStart, stable: offsets.LastStable, hasBucket: m.cfg.Bucket != nil}
	if h.hasBucket {
		rows, err := m.rows(ctx, p)
		if err != nil {
			return err
		}
		h.remote, h.hasCatalog = rows, true
	}
	h.local = p.Log().Segments()
	v := decide(h)
	switch {
	case len(v.doom) > 0:
		if err := m.cfg.Ledger.DoomSegments(ctx, p.Key(), m.cfg.Self, p.LeaderEpoch(), v.logStart, v.doom, v.reason); err != nil {
			return fmt.Errorf("dooming %d segments below %d: %w", len(v.doom), v.logStart, err)
		}
		m.catalog.remove(p.Key(), v.doom)
	case v.logStart > h.logStart:
		if _, err := m.cfg.Ledger.RaiseLogStart(ctx, p.Key(), m.cfg.Self, p.LeaderEpoch(), v.logStart); err != nil {
			return fmt.Errorf("raising the log start to %d: %w", v.logStart, err)
		}
	}
	if v.logStart > h.logStart {
		if err := p.SetLogStart(v.logStart); err != nil {
			return err
		}
		m.log.Info("retention", "topic", p.Topic(), "partition", p.Key().Partition, "log_start", v.logStart, "reason", v.reason, "remote_segments", len(v.doom))
	}
	if v.trim > offsets.LocalStart {
		return m.trim(p, v.trim)
	}
	return nil
}

// retainFollower drops the local segments of a replica that its leader's log start or local retention gives up. Only what is live in the bucket goes for the
// latter, and Postgres is asked about that only when there is something to drop.
func (m *Manager) retainFollower(ctx context.Context, p *replica.Partition) error {
	if p.Log().Sealed() == 0 {
		return nil
	}
	offsets := p.Offsets()
	to := offsets.LogStart
	h := holdings{now: time.Now(), config: p.Config(), logStart: offsets.LogStart, local: p.Log().Segments()}
	if m.cfg.Bucket != nil && h.config.RemoteStorage && h.trimTo(math.MaxInt64) > offsets.LocalStart {
		rows, err := m.catalog.load(ctx, p.Key())
		if err != nil {
			return err
		}
		h.remote, h.hasCatalog = rows, true
		to = max(to, h.trimTo(tieredEnd(rows)))
	}
	if to > offsets.LocalStart || to > p.Log().FirstSegment() {
		return m.trim(p, to)
	}
	return nil
}

// trim drops the local segments of a partition that end at or below offset.
func (m *Manager) trim(p *replica.Partition, offset int64) error {
	n, size, err := p.Trim(offset)
	if err != nil {
		return fmt.Errorf("trimming local segments below %d: %w", offset, err)
	}
	m.metrics.trimmed(n, size)
	return nil
}
