//go:build e2e

package clients

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const tools = "org.apache.kafka.tools."

// has checks that a tool's output holds each of the texts.
func has(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in:\n%s", text, out)
		}
	}
}

// TestAdminTools runs Kafka's own tools, one after the other, on one topic.
func TestAdminTools(t *testing.T) {
	b := start(t)
	at := []string{"--bootstrap-server", b.Addr}
	run := func(t *testing.T, class string, args ...string) string {
		t.Helper()
		return java(t, "", class, append(at, args...)...)
	}
	t.Run("kafka-topics", func(t *testing.T) {
		has(t, run(t, tools+"TopicCommand", "--create", "--topic", "admin", "--partitions", "2", "--config", "retention.ms=3600000"),
			"Created topic admin")
		has(t, run(t, tools+"TopicCommand", "--list"), "admin")
		has(t, run(t, tools+"TopicCommand", "--alter", "--topic", "admin", "--partitions", "3"))
		has(t, run(t, tools+"TopicCommand", "--describe", "--topic", "admin"),
			"PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=3600000", "Partition: 2\tLeader: 1\tReplicas: 1\tIsr: 1")
	})
	t.Run("kafka-configs", func(t *testing.T) {
		topic := []string{"--entity-type", "topics", "--entity-name", "admin"}
		has(t, run(t, "kafka.admin.ConfigCommand", append(topic, "--alter", "--add-config", "max.message.bytes=2000000,retention.ms=7200000")...),
			"Completed updating config for topic admin")
		has(t, run(t, "kafka.admin.ConfigCommand", append(topic, "--describe")...),
			"max.message.bytes=2000000", "retention.ms=7200000", "DYNAMIC_TOPIC_CONFIG")
		has(t, run(t, "kafka.admin.ConfigCommand", append(topic, "--alter", "--delete-config", "retention.ms")...), "Completed")
		if out := run(t, "kafka.admin.ConfigCommand", append(topic, "--describe")...); strings.Contains(out, "retention.ms=7200000") {
			t.Errorf("retention.ms is still set:\n%s", out)
		}
		has(t, run(t, "kafka.admin.ConfigCommand", "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"), "log.segment.bytes=")
	})
	kcatProduce(t, b.Addr, "admin", "none", values(0, 30, "admin"))
	t.Run("kafka-get-offsets", func(t *testing.T) {
		for when, sum := range map[string]int{"-1": 30, "latest": 30, "-2": 0, "earliest": 0, "-4": 0, "earliest-local": 0} {
			if got := offsets(t, run(t, tools+"GetOffsetShell", "--topic", "admin", "--time", when)); got != sum {
				t.Errorf("--time %s: the offsets add up to %d, want %d", when, got, sum)
			}
		}
		// The offset of the largest timestamp and the end of the tier: whatever they are, the tool must understand the answer.
		for _, when := range []string{"-3", "-5"} {
			run(t, tools+"GetOffsetShell", "--topic", "admin", "--time", when)
		}
	})
	t.Run("kafka-consumer-groups", func(t *testing.T) {
		kcatGroup(t, b.Addr, "admin", "admin-group", 30)
		has(t, run(t, tools+"consumer.group.ConsumerGroupCommand", "--list"), "admin-group")
		out := run(t, tools+"consumer.group.ConsumerGroupCommand", "--describe", "--group", "admin-group")
		if got, want := strings.Count(out, "admin-group"), 3; got < want {
			t.Errorf("%d lines of 3 partitions:\n%s", got, out)
		}
		lag(t, out)
	})
	t.Run("kafka-log-dirs", func(t *testing.T) {
		has(t, run(t, tools+"LogDirsCommand", "--describe", "--topic-list", "admin"), `"partition":"admin-0"`, `"offsetLag":0`)
	})
	t.Run("kafka-delete-records", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "offsets.json")
		text := `{"partitions":[{"topic":"admin","partition":0,"offset":3}],"version":1}`
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		has(t, run(t, tools+"DeleteRecordsCommand", "--offset-json-file", file), "low_watermark: 3")
		if got := offsets(t, run(t, tools+"GetOffsetShell", "--topic", "admin", "--time", "earliest")); got != 3 {
			t.Errorf("the log start offsets add up to %d, want 3", got)
		}
	})
	t.Run("kafka-broker-api-versions", func(t *testing.T) {
		has(t, run(t, tools+"BrokerApiVersionsCommand"), "Produce(0): 0 to ", "(id: 1 rack: null")
	})
	t.Run("kcat", func(t *testing.T) {
		has(t, tool(t, "", "kcat", "-b", b.Addr, "-L", "-t", "admin"), `topic "admin" with 3 partitions`, "partition 2, leader 1, replicas: 1, isrs: 1")
		has(t, tool(t, "", "kcat", "-b", b.Addr, "-Q", "-t", "admin:0:-2"), "admin [0] offset 3")
		has(t, tool(t, "", "kcat", "-b", b.Addr, "-Q", "-t", "admin:0:0"), "admin [0] offset 3")
	})
	t.Run("kafka-topics --delete", func(t *testing.T) {
		run(t, tools+"TopicCommand", "--delete", "--topic", "admin")
		if out := run(t, tools+"TopicCommand", "--list"); strings.Contains(out, "admin\n") {
			t.Errorf("the topic is still there:\n%s", out)
		}
	})
}

// offsets adds up `topic:partition:offset` lines.
func offsets(t *testing.T, out string) int {
	t.Helper()
	sum := 0
	for _, line := range lines(out) {
		var offset int
		if _, err := fmt.Sscanf(line[strings.LastIndexByte(line, ':')+1:], "%d", &offset); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		sum += offset
	}
	return sum
}

// lag checks that a described group has read everything: GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ...
func lag(t *testing.T, out string) {
	t.Helper()
	for _, line := range lines(out) {
		if f := strings.Fields(line); len(f) > 5 && f[0] == "admin-group" && f[5] != "0" {
			t.Errorf("a lag of %s: %s", f[5], line)
		}
	}
}

// TestDumpLogReadsOurSegments lets Kafka's DumpLogSegments check every file that the broker wrote.
func TestDumpLogReadsOurSegments(t *testing.T) {
	b := start(t)
	small := "1048576"
	makeTopic(t, b.Addr, "dumped", 1, map[string]*string{"segment.bytes": &small})
	for _, codec := range codecs {
		franzProduce(t, b.Addr, "dumped", codec, values(0, 2000, codec))
	}
	franzProduce(t, b.Addr, "dumped", "none", values(2000, 8000, "none"))
	b.Stop(t)
	var files []string
	err := filepath.WalkDir(b.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Base(filepath.Dir(path)) == "dumped-0" {
			switch filepath.Ext(path) {
			case ".log", ".index", ".timeindex", ".snapshot":
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 6 {
		t.Fatalf("want several segments with their indexes, have %v", files)
	}
	out := java(t, "", tools+"DumpLogSegments", "--deep-iteration", "--index-sanity-check", "--files", strings.Join(files, ","))
	for _, complaint := range []string{"Mismatches in", "Non-consecutive offsets", "isvalid: false", "Invalid", "Could not", "not monoton"} {
		if strings.Contains(out, complaint) {
			t.Errorf("DumpLogSegments complains: %q in\n%s", complaint, out[max(0, len(out)-3000):])
		}
	}
	if got, want := strings.Count(out, "| offset: "), 16000; got != want {
		t.Errorf("DumpLogSegments saw %d records, want %d", got, want)
	}
}
