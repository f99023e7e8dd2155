package commitlog

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"varve/commitlog/record"
)

// kafkaLibs returns the class path of the reference Kafka (testdata/kafka/kafka.sh install), or skips the test.
func kafkaLibs(t *testing.T) string {
	t.Helper()
	home := os.Getenv("KAFKA_HOME")
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			t.Skip("no home directory to look for Kafka in")
		}
		home = filepath.Join(user, ".cache", "varve-reference-kafka")
	}
	libs := filepath.Join(home, "libs")
	if !dirExists(libs) {
		t.Skipf("no Kafka in %s: testdata/kafka/kafka.sh install", libs)
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("no java")
	}
	return filepath.Join(libs, "*")
}

// TestDumpLogSegments has Kafka's own tool read what we write and check indexes against segments.
func TestDumpLogSegments(t *testing.T) {
	libs := kafkaLibs(t)
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", smallSegments())
	sequence := int32(0)
	for codec := record.None; codec <= record.Zstd; codec++ {
		for i := range 8 {
			b := record.NewBuilder()
			b.Codec, b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = codec, 7, 0, sequence, true
			for range 1 + i {
				b.Add(future+int64(sequence), []byte("key"), []byte("a varve is a yearly layer of sediment"), record.Header{Key: "h"})
				sequence++
			}
			mustAppend(t, l, b.Build(), 2)
		}
		mustAppend(t, l, marker(7, 0, codec%2 == 0, 1), 2)
	}
	end, aborted := l.End(), 0
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	for name := range readFiles(t, l.path) {
		if _, ok := anyBase(name); ok {
			files = append(files, filepath.Join(l.path, name))
		}
		if strings.HasSuffix(name, txnSuffix) {
			aborted++
		}
	}
	slices.Sort(files)
	cmd := exec.Command("java", "-Xmx256m", "-cp", libs, "org.apache.kafka.tools.DumpLogSegments",
		"--deep-iteration", "--print-data-log", "--files", strings.Join(files, ","))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.Bytes())
	}
	for _, bad := range []string{"isvalid: false", "Mismatches", "Found timestamp mismatch", "out of order", "Invalid", "corrupt", "Exception"} {
		if bytes.Contains(out, []byte(bad)) || bytes.Contains(stderr.Bytes(), []byte(bad)) {
			t.Errorf("Kafka says %q:\n%s\n%s", bad, out, stderr.Bytes())
		}
	}
	batches := len(regexp.MustCompile(`isvalid: true`).FindAll(out, -1))
	records := len(regexp.MustCompile(`(?m)^\| offset: `).FindAll(out, -1))
	if batches != 45 || int64(records) != end {
		t.Errorf("Kafka read %d batches of 45, %d records of %d\n%s", batches, records, end, out)
	}
	if n := len(regexp.MustCompile(`version: 0 producerId: 7 `).FindAll(out, -1)); aborted == 0 || n != 2 {
		t.Errorf("Kafka read %d aborted transactions in %d files\n%s", n, aborted, out)
	}
}
