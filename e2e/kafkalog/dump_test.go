//go:build e2e

package kafkalog

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"varve/internal/testcluster"
)

// TestDumpLogSegmentsReadsOurDirectories: Kafka's tool reads every file of every kind of directory, and finds nothing wrong with any: batches, records, indexes against
// segments, aborted transactions, producer snapshots.
func TestDumpLogSegmentsReadsOurDirectories(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	records := map[string]int64{}
	for _, kind := range kinds {
		w := &writer{t: t, log: openLog(t, d, kind.name, uuid.New())}
		kind.write(w)
		for _, b := range split(t, readLog(t, w.log, w.log.LocalStart())) {
			records[kind.name] += int64(b.Count())
		}
		if first := w.log.Segments()[0].BaseOffset; first < w.log.LocalStart() { // the tool knows no log start
			records[kind.name] = w.log.End() - first
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	suffixes := map[string]int{}
	for _, kind := range kinds {
		var files []string
		for _, suffix := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"} {
			found, err := filepath.Glob(filepath.Join(path, kind.name+"-0", "*"+suffix))
			if err != nil {
				t.Fatal(err)
			}
			suffixes[suffix] += len(found)
			files = append(files, found...)
		}
		slices.Sort(files)
		out, err := exec.Command(testcluster.KafkaScript(t), "run", "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log",
			"--files", strings.Join(files, ",")).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind.name, err, out)
		}
		// It says this of what Kafka's own cleaner leaves, too: a batch that was emptied keeps its timestamp, and may have an index entry.
		out = regexp.MustCompile(`Found timestamp mismatch in :.*\n +Index timestamp: \d+, log timestamp: -1\n`).ReplaceAll(out, nil)
		for _, bad := range []string{"isvalid: false", "Mismatches", "mismatch", "out of order", "Invalid", "corrupt", "Exception"} {
			if strings.Contains(string(out), bad) {
				t.Errorf("%s: Kafka says %q:\n%s", kind.name, bad, out)
			}
		}
		if n := int64(len(regexp.MustCompile(`(?m)^\| offset: `).FindAll(out, -1))); n != records[kind.name] {
			t.Errorf("%s: Kafka read %d records of %d", kind.name, n, records[kind.name])
		}
	}
	for suffix, n := range suffixes {
		if n == 0 {
			t.Errorf("no kind of directory has a %s", suffix)
		}
	}
}
