package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Topic is a topic's effective configuration, parsed.
type Topic struct {
	CleanupCompact, CleanupDelete bool
	CompressionType               string // producer, uncompressed, gzip, snappy, lz4, zstd
	MaxMessageBytes               int32
	MessageTimestampAppend        bool  // LogAppendTime
	TimestampBeforeMaxMs          int64 // not durations: Kafka's "no limit" is more ms than a Duration holds
	TimestampAfterMaxMs           int64
	MinInsyncReplicas             int32
	UncleanLeaderElection         bool
	RetentionMs, RetentionBytes   int64 // -1: unlimited
	LocalRetentionMs              int64 // resolved, never -2; -1: unlimited
	LocalRetentionBytes           int64
	RemoteStorage                 bool // tiered
	SegmentBytes                  int64
	SegmentMs, SegmentJitterMs    int64
	IndexIntervalBytes            int64
	SegmentIndexBytes             int64
	FileDeleteDelayMs             int64
	UploadMaxAgeMs                int64   // varve.upload.max.age.ms
	MinCleanableDirtyRatio        float64 // this and the next three: of compaction
	MinCompactionLagMs            int64
	MaxCompactionLagMs            int64
	DeleteRetentionMs             int64
	LeaderThrottled               ThrottledReplicas // leader.replication.throttled.replicas: what Broker.LeaderThrottledRate is for
	FollowerThrottled             ThrottledReplicas // follower.replication.throttled.replicas
}

// localDay is what local.retention.ms = -2 means at most (ms): a day on local disk is enough once the bucket has the rest.
const localDay = 24 * 60 * 60 * 1000

// CheckTopic validates overrides of a topic in themselves and against each other. The message is for the client; INVALID_CONFIG is the caller's.
func CheckTopic(overrides map[string]string) error {
	names := make([]string, 0, len(overrides))
	for name := range overrides {
		names = append(names, name)
	}
	slices.Sort(names) // the same error for the same request
	for _, name := range names {
		d, ok := TopicDef(name)
		if !ok {
			return fmt.Errorf("Unknown topic config name: %s", name) //lint:ignore ST1005 clients show it as Kafka says it
		}
		if d.Check == nil {
			continue
		}
		if err := d.Check(overrides[name]); err != nil {
			return err
		}
	}
	return checkTogether(overrides)
}

// checkTogether refuses settings that contradict each other, with Kafka's defaults for those not given.
func checkTogether(overrides map[string]string) error {
	number := func(name string) int64 {
		value, ok := overrides[name]
		if !ok {
			d, _ := TopicDef(name)
			value = d.Default
		}
		n, _ := strconv.ParseInt(value, 10, 64)
		return n
	}
	if overrides["remote.storage.enable"] == "true" && slices.Contains(splitList(overrides["cleanup.policy"]), "compact") {
		return fmt.Errorf("remote.storage.enable=true and cleanup.policy with compact exclude each other: a compacted topic stays on local disk; unset one of the two")
	}
	if number("min.compaction.lag.ms") > number("max.compaction.lag.ms") {
		return fmt.Errorf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", number("min.compaction.lag.ms"), number("max.compaction.lag.ms"))
	}
	for _, unit := range []string{"ms", "bytes"} {
		local, total := number("local.retention."+unit), number("retention."+unit)
		if _, set := overrides["local.retention."+unit]; !set || local == -2 || total == -1 {
			continue
		}
		if local == -1 || local > total {
			return &InvalidValueError{"local.retention." + unit, strconv.FormatInt(local, 10),
				fmt.Sprintf("Value must not be more than retention.%s, which is %d", unit, total)}
		}
	}
	return nil
}

// TopicValue returns the effective value of one topic setting as text: the override, else the broker's setting behind it, else the default.
func (b *Broker) TopicValue(overrides map[string]string, name string) string {
	d, ok := TopicDef(name)
	if !ok {
		return ""
	}
	if v, ok := overrides[name]; ok && (d.Check == nil || d.Check(v) == nil) {
		return v
	}
	if d.TopicOf != "" {
		if v := b.inMs(d.TopicOf); v != "" {
			return v
		}
	}
	if name == "remote.storage.enable" && b.BucketURL != "" &&
		!slices.Contains(splitList(b.TopicValue(overrides, "cleanup.policy")), "compact") {
		return "true"
	}
	return d.Default
}

// Topic resolves a topic's configuration. A stored value that is no longer acceptable gives way to the default.
func (b *Broker) Topic(overrides map[string]string) *Topic {
	text := func(name string) string { return b.TopicValue(overrides, name) }
	number := func(name string) int64 { n, _ := strconv.ParseInt(text(name), 10, 64); return n }
	policy := splitList(text("cleanup.policy"))
	t := &Topic{
		CleanupCompact:         slices.Contains(policy, "compact"),
		CleanupDelete:          slices.Contains(policy, "delete"),
		CompressionType:        text("compression.type"),
		MaxMessageBytes:        int32(number("max.message.bytes")),
		MessageTimestampAppend: text("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMs:   number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:    number("message.timestamp.after.max.ms"),
		MinInsyncReplicas:      int32(number("min.insync.replicas")),
		UncleanLeaderElection:  text("unclean.leader.election.enable") == "true",
		RetentionMs:            number("retention.ms"),
		RetentionBytes:         number("retention.bytes"),
		RemoteStorage:          text("remote.storage.enable") == "true",
		SegmentBytes:           number("segment.bytes"),
		SegmentMs:              number("segment.ms"),
		SegmentJitterMs:        number("segment.jitter.ms"),
		IndexIntervalBytes:     number("index.interval.bytes"),
		SegmentIndexBytes:      number("segment.index.bytes"),
		FileDeleteDelayMs:      number("file.delete.delay.ms"),
		UploadMaxAgeMs:         number("varve.upload.max.age.ms"),
		MinCompactionLagMs:     number("min.compaction.lag.ms"),
		MaxCompactionLagMs:     number("max.compaction.lag.ms"),
		DeleteRetentionMs:      number("delete.retention.ms"),
		LeaderThrottled:        parseThrottled(text("leader.replication.throttled.replicas")),
		FollowerThrottled:      parseThrottled(text("follower.replication.throttled.replicas")),
	}
	t.MinCleanableDirtyRatio, _ = strconv.ParseFloat(text("min.cleanable.dirty.ratio"), 64)
	if internal := number("internal.segment.bytes"); internal > 0 {
		t.SegmentBytes = internal
	}
	t.LocalRetentionMs, t.LocalRetentionBytes = number("local.retention.ms"), number("local.retention.bytes")
	if t.LocalRetentionMs == -2 {
		t.LocalRetentionMs = t.RetentionMs
		if t.RemoteStorage && (t.RetentionMs < 0 || t.RetentionMs > localDay) {
			t.LocalRetentionMs = localDay
		}
	}
	if t.LocalRetentionBytes == -2 {
		t.LocalRetentionBytes = t.RetentionBytes
	}
	return t
}

// milliseconds converts ms to a Duration, which ends at about 292 years: longer is for ever.
func milliseconds(ms int64) time.Duration {
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(ms, longest)) * time.Millisecond
}
