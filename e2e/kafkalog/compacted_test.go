//go:build e2e

package kafkalog

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog/record"
)

var compactedKinds = []kind{
	{"tombstones-kept", map[string]string{"delete.retention.ms": "86400000"}, nil},
	{"tombstones-gone", map[string]string{"delete.retention.ms": "1"}, nil},
}

// TestCompactionLeavesWhatKafkasLeaves: two logs of the same bytes, one compacted by Kafka's cleaner and one by ours, have the same batches afterwards, record
// by record: what is kept of keys, tombstones, committed and aborted transactions and markers, and which batches stay empty for their producers' sake. Four
// rounds of new records, so that delete horizons pass.
func TestCompactionLeavesWhatKafkasLeaves(t *testing.T) {
	for i := range compactedKinds {
		maps.Copy(compactedKinds[i].config, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "internal.segment.bytes": "3000"})
	}
	k := startKafka(t, compactedKinds, "log.cleaner.backoff.ms=100")
	ours, kafkas := t.TempDir(), t.TempDir()
	for round := range 4 {
		for _, path := range []string{ours, kafkas} {
			write(t, path, k.ids, round)
		}
		k.put(t, kafkas)
		k.Start(t)
		here := compactOurs(t, ours, k.ids, time.Now().Add(time.Duration(round)*time.Hour))
		cl := k.connect(t)
		for _, kind := range compactedKinds {
			all := strings.Join(here[kind.name].batches, "\n")
			t.Logf("round %d, %s: %d batches, %d tombstones, %d markers, %d batches without records", round, kind.name, len(here[kind.name].batches),
				strings.Count(all, "(true)"), strings.Count(all, "control true"), strings.Count(all+"\n", ":\n"))
			there := cleanedByKafka(t, k, kind.name, here[kind.name].to, func() []byte { return serves(t, cl, kind.name, k.ids[kind.name]).Batches })
			if got, want := here[kind.name].batches, describe(t, there); !slices.Equal(got, want) {
				at := 0
				for at < min(len(got), len(want)) && got[at] == want[at] {
					at++
				}
				t.Errorf("round %d, %s: %d batches, Kafka leaves %d; the first that differs:\nhere  %s\nKafka %s", round, kind.name, len(got), len(want),
					strings.Join(got[at:min(at+2, len(got))], "\n      "), strings.Join(want[at:min(at+2, len(want))], "\n      "))
			}
		}
		k.Stop(t)
		takePartitions(t, k, kafkas)
		if t.Failed() {
			return
		}
	}
}

// write appends a round of batches to the logs in a directory.
func write(t *testing.T, path string, ids map[string]uuid.UUID, round int) {
	t.Helper()
	d := openDir(t, path)
	for _, kind := range compactedKinds {
		w := &writer{t: t, log: openLog(t, d, kind.name, ids[kind.name])}
		if epochs := w.log.Epochs(); len(epochs) > 0 {
			w.epoch = epochs[len(epochs)-1].Epoch
		}
		writeKeys(w, round)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

type compacted struct {
	to      int64 // everything below was compacted
	batches []string
}

// compactOurs compacts the logs in a directory of ours.
func compactOurs(t *testing.T, path string, ids map[string]uuid.UUID, now time.Time) map[string]compacted {
	t.Helper()
	d, out := openDir(t, path), map[string]compacted{}
	for _, kind := range compactedKinds {
		w := &writer{t: t, log: openLog(t, d, kind.name, ids[kind.name])}
		cfg := w.log.Config()
		if cfg.Compaction.DeleteRetention = 24 * time.Hour; kind.config["delete.retention.ms"] == "1" {
			cfg.Compaction.DeleteRetention = time.Millisecond
		}
		w.log.SetConfig(cfg)
		before := w.log.Size()
		w.compact(now)
		out[kind.name] = compacted{w.log.Dirty(w.log.End(), now).From, describe(t, readLog(t, w.log, 0))}
		if w.log.Size() >= before {
			t.Errorf("%s: %d bytes of %d", kind.name, w.log.Size(), before)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// cleanedByKafka reads a partition after Kafka's cleaner has noted that it came to offset to.
func cleanedByKafka(t *testing.T, k *kafka, topic string, to int64, read func() []byte) []byte {
	t.Helper()
	want := fmt.Sprintf("%s 0 %d\n", topic, to)
	await(t, "Kafka's cleaner: "+want, func() bool {
		text, err := os.ReadFile(filepath.Join(k.data, "cleaner-offset-checkpoint"))
		return err == nil && strings.Contains(string(text), want)
	})
	return read()
}

// takePartitions replaces the partitions in path by those of the stopped Kafka.
func takePartitions(t *testing.T, k *kafka, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(path, os.DirFS(k.data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, "meta.properties")); err != nil { // of another cluster
		t.Fatal(err)
	}
}

// describe says what is in batches, but for when deletes are due.
func describe(t *testing.T, b []byte) (out []string) {
	t.Helper()
	for _, b := range split(t, b) {
		line := fmt.Sprintf("[%d,%d] producer %d/%d/%d epoch %d codec %v txn %v control %v horizon %v max time %d:", b.BaseOffset(), b.LastOffset(),
			b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LeaderEpoch(), b.Codec(), b.Transactional(), b.Control(), b.DeleteHorizon(), b.MaxTimestamp())
		if b.Control() {
			line = line[:strings.LastIndex(line, " max time")] // the markers' own clock
		}
		err := b.Walk(0, func(r *record.Record) error {
			at := r.Timestamp(b)
			if b.Control() {
				at = 0
			}
			line += fmt.Sprintf(" %d@%d %q=%q(%v) %x", r.Offset(b), at, r.Key, r.Value, r.Value == nil, r.Headers)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}
