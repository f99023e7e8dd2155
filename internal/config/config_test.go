package config

import (
	"strings"
	"testing"
)

// TestDefaults: every default is acceptable to its own check, and every topic setting has words and a broker setting where it names one.
func TestDefaults(t *testing.T) {
	for _, d := range append(append([]Def(nil), TopicDefs()...), BrokerDefs()...) {
		if d.Doc == "" {
			t.Errorf("%s has no documentation", d.Name)
		}
		if d.Check != nil && d.Default != "" {
			if err := d.Check(d.Default); err != nil {
				t.Errorf("the default is refused: %v", err)
			}
		}
		if d.TopicOf != "" {
			if _, ok := BrokerDef(d.TopicOf); !ok {
				t.Errorf("%s: no broker setting %s", d.Name, d.TopicOf)
			}
		}
	}
	if n := len(TopicDefs()); n != 34 {
		t.Errorf("%d topic settings listed, Kafka 4.3 has 33 and Varve one", n)
	}
}

// TestCheckTopic: what Kafka refuses, with the setting named; what contradicts itself, too.
func TestCheckTopic(t *testing.T) {
	for _, c := range []struct {
		set     map[string]string
		refused string // part of the message; empty: accepted
	}{
		{map[string]string{"retention.ms": "-1", "cleanup.policy": "compact, delete"}, ""},
		{map[string]string{"segment.bytes": "1048575"}, "segment.bytes: Value must be at least 1048576"},
		{map[string]string{"internal.segment.bytes": "1000"}, ""},
		{map[string]string{"retention.ms": "soon"}, "retention.ms"},
		{map[string]string{"cleanup.policy": "shrink"}, "cleanup.policy"},
		{map[string]string{"min.insync.replicas": "0"}, "at least 1"},
		{map[string]string{"min.cleanable.dirty.ratio": "1.5"}, "[0, 1]"},
		{map[string]string{"remote.storage.enable": "yes"}, "either true or false"},
		{map[string]string{"no.such": "1"}, "Unknown topic config name: no.such"},
		{map[string]string{"remote.storage.enable": "true", "cleanup.policy": "compact"}, "exclude each other"},
		{map[string]string{"local.retention.ms": "1000", "retention.ms": "999"}, "local.retention.ms"},
		{map[string]string{"local.retention.bytes": "1000"}, ""},
		{map[string]string{"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8"}, "conflict"},
	} {
		err := CheckTopic(c.set)
		if c.refused == "" && err != nil {
			t.Errorf("%v: %v", c.set, err)
		}
		if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%v: %v, want %q", c.set, err, c.refused)
		}
	}
}

// TestTopic follows the order of precedence: override, broker's dynamic setting, broker's file, default; and the tier's defaults.
func TestTopic(t *testing.T) {
	b, err := NewBroker(map[string]string{"node.id": "1", "log.segment.bytes": "2097152", "varve.bucket.url": "file:///bucket"})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Topic(nil); got.SegmentBytes != 2097152 || !got.RemoteStorage || got.LocalRetentionMs != localDay || got.RetentionMs != 604800000 {
		t.Errorf("defaults with a bucket: %+v", got)
	}
	if got := b.Topic(map[string]string{"cleanup.policy": "compact"}); got.RemoteStorage || got.CleanupDelete {
		t.Errorf("a compacted topic: %+v", got)
	}
	if got := b.Topic(map[string]string{"retention.ms": "1000", "internal.segment.bytes": "500"}); got.LocalRetentionMs != 1000 || got.SegmentBytes != 500 {
		t.Errorf("overrides: %+v", got)
	}
	for _, c := range []struct {
		set  map[string]string
		want int64
	}{
		{map[string]string{"log.retention.hours": "2"}, 2 * 3600_000},
		{map[string]string{"log.retention.hours": "2", "log.retention.minutes": "3"}, 3 * 60_000},
		{map[string]string{"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, 4},
		{map[string]string{"log.retention.hours": "-1"}, -1},
		{map[string]string{"log.retention.minutes": "5"}, 1}, // the topic's own
	} {
		overrides := map[string]string{}
		if c.want == 1 {
			overrides["retention.ms"] = "1"
		}
		c.set["node.id"] = "1"
		b, err := NewBroker(c.set)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Topic(overrides).RetentionMs; got != c.want {
			t.Errorf("%v: retention.ms %d, want %d", c.set, got, c.want)
		}
	}
	dynamic := b.WithDynamic(map[string]string{"log.segment.bytes": "3145728", "node.id": "7"}, map[string]string{"log.retention.ms": "5"})
	if got := dynamic.Topic(nil); got.SegmentBytes != 3145728 || got.RetentionMs != 5 || dynamic.NodeID != 1 {
		t.Errorf("dynamic settings: %+v, node %d", got, dynamic.NodeID)
	}
	if got := b.Topic(nil); got.SegmentBytes != 2097152 {
		t.Error("WithDynamic changed the original")
	}
}

// TestNewBroker: an unknown or bad setting is an error that names it.
func TestNewBroker(t *testing.T) {
	for name, value := range map[string]string{"no.such": "1", "num.partitions": "0", "listeners": "SSL://:9092", "varve.durability": "perhaps"} {
		if _, err := NewBroker(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
