package tiering

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/internal/config"
	"varve/metadata"
)

// TestDecide walks through retention: ten segments of 100 offsets, 1000 bytes and one minute each, the newest one minute old; remote says how many
// are live in the bucket, and local from which one on there are local copies. The active segment [1000, 1050) is local.
func TestDecide(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	const minute = int64(60_000)
	topic := config.Topic{CleanupDelete: true, RemoteStorage: true, RetentionMs: -1, RetentionBytes: -1, LocalRetentionMs: -1, LocalRetentionBytes: -1}
	for _, c := range []struct {
		name          string
		change        func(*config.Topic)
		remote, local int
		logStart      int64
		stable        int64
		wantStart     int64
		wantDoom      int
		wantTrim      int64
		wantReason    string
	}{
		{name: "all is kept", remote: 8, wantReason: "log start"},
		{name: "time, across the seam", change: func(c *config.Topic) { c.RetentionMs = 3*minute + 1 }, remote: 4, wantStart: 700, wantDoom: 4, wantTrim: 700, wantReason: "retention.ms"},
		{name: "time, all sealed", change: func(c *config.Topic) { c.RetentionMs = 1 }, remote: 10, local: 8, wantStart: 1000, wantDoom: 10, wantTrim: 1000, wantReason: "retention.ms"},
		{name: "size counts each segment once and the active one", change: func(c *config.Topic) { c.RetentionBytes = 3500 }, remote: 8, wantStart: 700, wantDoom: 7, wantTrim: 700, wantReason: "retention.bytes"},
		{name: "nothing above the last stable offset", change: func(c *config.Topic) { c.RetentionMs = 1 }, remote: 0, stable: 450, wantStart: 400, wantTrim: 400, wantReason: "retention.ms"},
		{name: "a raised log start dooms what is wholly below", remote: 8, local: 8, logStart: 250, wantStart: 250, wantDoom: 2, wantTrim: 250, wantReason: "log start"},
		{name: "compaction alone deletes nothing by age", change: func(c *config.Topic) { c.RetentionMs = 1; c.CleanupDelete = false; c.RemoteStorage = false }, wantReason: "log start"},
		{name: "local copies go by age when they are live", change: func(c *config.Topic) { c.LocalRetentionMs = 3*minute + 1 }, remote: 6, wantTrim: 600, wantReason: "log start"},
		{name: "local copies go by size when they are live", change: func(c *config.Topic) { c.LocalRetentionBytes = 4500 }, remote: 9, wantTrim: 600, wantReason: "log start"},
		{name: "what is not live stays", change: func(c *config.Topic) { c.LocalRetentionMs = 1 }, remote: 0, wantReason: "log start"},
	} {
		cfg := topic
		if c.change != nil {
			c.change(&cfg)
		}
		h := holdings{now: now, config: &cfg, logStart: c.logStart, stable: 1050, hasCatalog: true}
		if c.stable > 0 {
			h.stable = c.stable
		}
		for i := range 10 {
			stamp := now.UnixMilli() - int64(10-i)*minute
			if i < c.remote {
				h.remote = append(h.remote, metadata.RemoteSegment{ID: uuid.New(), BaseOffset: int64(i) * 100, EndOffset: int64(i+1) * 100, LogBytes: 1000, MaxTimestamp: stamp})
			}
			if i >= c.local {
				h.local = append(h.local, commitlog.SegmentInfo{BaseOffset: int64(i) * 100, EndOffset: int64(i+1) * 100, Bytes: 1000, MaxTimestamp: stamp, Sealed: true})
			}
		}
		h.local = append(h.local, commitlog.SegmentInfo{BaseOffset: 1000, EndOffset: 1050, Bytes: 500, MaxTimestamp: now.UnixMilli()})
		v := decide(h)
		if v.logStart != c.wantStart || len(v.doom) != c.wantDoom || v.trim != c.wantTrim || v.reason != c.wantReason {
			t.Errorf("%s: log start %d, %d doomed, trim to %d, %s; want %d, %d, %d, %s", c.name, v.logStart, len(v.doom), v.trim, v.reason, c.wantStart, c.wantDoom, c.wantTrim, c.wantReason)
		}
	}
}

// TestDecideBrakes: one pass dooms a quarter of a long history at most; an unknown catalog decides nothing; a hole in the bucket keeps the local copy.
func TestDecideBrakes(t *testing.T) {
	now := time.Now()
	cfg := &config.Topic{CleanupDelete: true, RemoteStorage: true, RetentionMs: 1, RetentionBytes: -1, LocalRetentionMs: 1, LocalRetentionBytes: -1}
	h := holdings{now: now, config: cfg, stable: 1 << 40, hasCatalog: true}
	for i := range int64(100) {
		h.remote = append(h.remote, metadata.RemoteSegment{ID: uuid.New(), BaseOffset: i, EndOffset: i + 1, MaxTimestamp: 1})
	}
	if v := decide(h); len(v.doom) != 25 || v.logStart != 25 {
		t.Errorf("%d doomed, log start %d", len(v.doom), v.logStart)
	}
	h.hasCatalog = false
	if v := decide(h); len(v.doom) != 0 || v.logStart != 0 || v.trim != 0 {
		t.Errorf("without a catalog: %+v", v)
	}
	h = holdings{now: now, config: &config.Topic{CleanupDelete: true, RemoteStorage: true, RetentionMs: -1, RetentionBytes: -1, LocalRetentionMs: 1, LocalRetentionBytes: -1},
		stable: 300, hasCatalog: true,
		remote: []metadata.RemoteSegment{{BaseOffset: 0, EndOffset: 90}, {BaseOffset: 110, EndOffset: 300}},
		local:  []commitlog.SegmentInfo{{BaseOffset: 0, EndOffset: 200, MaxTimestamp: 1, Sealed: true}, {BaseOffset: 200, EndOffset: 300, MaxTimestamp: 1, Sealed: true}}}
	if v := decide(h); v.trim != 0 {
		t.Errorf("trimmed to %d over a hole in the bucket", v.trim)
	}
}

// TestNextUpload: in order, sealed, and wholly below the last stable offset.
func TestNextUpload(t *testing.T) {
	local := []commitlog.SegmentInfo{{BaseOffset: 0, EndOffset: 100, Sealed: true}, {BaseOffset: 100, EndOffset: 200, Sealed: true}, {BaseOffset: 200, EndOffset: 250}}
	for _, c := range []struct {
		tiered, stable, want int64
		ok                   bool
	}{{0, 250, 0, true}, {100, 250, 100, true}, {200, 250, 0, false}, {100, 199, 0, false}, {0, 99, 0, false}, {50, 250, 0, false}} {
		s, ok := nextUpload(local, c.tiered, c.stable)
		if ok != c.ok || ok && s.BaseOffset != c.want {
			t.Errorf("tiered to %d, stable to %d: %+v, %v", c.tiered, c.stable, s, ok)
		}
	}
}
