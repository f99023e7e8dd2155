package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/metadata"
	"varve/tiering"
)

// runLog runs varve log dump.
func runLog(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := root()
	cmd.SetArgs(append([]string{"log", "dump"}, args...))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(context.Background())
	return stdout.String(), stderr.String(), err
}

const goldenPartition = "../../testdata/golden/transactional/transactional-0"

// TestLogDumpBundle: head, chunks and every index, in the form of the files; of a damaged bundle what its checksums vouch for.
func TestLogDumpBundle(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(goldenPartition, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := &tiering.Bundle{
		ClusterID: uuid.UUID{1}, Topic: "events",
		Segment: metadata.RemoteSegment{ID: uuid.UUID{3}, TopicPartition: metadata.TopicPartition{TopicID: uuid.UUID{2}, Partition: 5}, BaseOffset: 18,
			EndOffset: 34, LeaderEpoch: 7, MaxTimestamp: 99, LogBytes: 500, LogCRC32C: 77},
		Chunks:       []tiering.Chunk{{Position: 0, Length: 500, FirstOffset: 18, MaxTimestamp: 99, CRC32C: 88}},
		Index:        read("00000000000000000018.index"),
		TimeIndex:    read("00000000000000000018.timeindex"),
		TxnIndex:     read("00000000000000000018.txnindex"),
		Producers:    read("00000000000000000034.snapshot"),
		LeaderEpochs: []commitlog.EpochEntry{{Epoch: 7, StartOffset: 4}},
	}
	path := filepath.Join(t.TempDir(), "x.idx")
	data := b.Encode()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	head := "Dumping " + path + "\n" +
		"clusterId: 01000000-0000-0000-0000-000000000000 topic: events topicId: 02000000-0000-0000-0000-000000000000 partition: 5 " +
		"segmentId: 03000000-0000-0000-0000-000000000000\n" +
		"baseOffset: 18 endOffset: 34 leaderEpoch: 7 maxTimestamp: 99 logSize: 500 logCrc: 77 chunks: 1\n" +
		"chunk position: 0 size: 500 firstOffset: 18 maxTimestamp: 99 crc: 88\n"
	want := head
	for _, name := range []string{"00000000000000000018.index", "00000000000000000018.timeindex", "00000000000000000018.txnindex", "00000000000000000034.snapshot"} {
		file := filepath.Join(goldenPartition, name)
		dumped, _, err := runLog(t, file)
		if err != nil || strings.Count(dumped, "\n") < 3 {
			t.Fatalf("%v\n%s", err, dumped)
		}
		want += strings.ReplaceAll(dumped, file, filepath.Join(path, name))
	}
	want += "Dumping " + filepath.Join(path, "leader-epoch-checkpoint") + "\nepoch: 7 startOffset: 4\n"
	if got, errs, err := runLog(t, path); got != want || errs != "" || err != nil {
		t.Errorf("%v, %s\ngot  %s\nwant %s", err, errs, got, want)
	}

	data[len(data)-1] ^= 1 // of the last section
	for _, c := range []struct {
		data       []byte
		want, errs string
	}{
		{data, head, "section 4: checksum mismatch"},
		{data[:40], "Dumping " + path + "\n", "header: too short"},
		{binary.BigEndian.AppendUint64(nil, 1<<63-1), "Dumping " + path + "\n", "prefix: too short"},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, errs, err := runLog(t, path); got != c.want || !strings.Contains(errs, path+": segment bundle: "+c.errs) || err == nil {
			t.Errorf("%v, %s\ngot  %s\nwant %s", err, errs, got, c.want)
		}
	}
}

// TestLogDumpArguments: a directory is its files, --files is as good as naming them, options do what they say.
func TestLogDumpArguments(t *testing.T) {
	log, index := filepath.Join(goldenPartition, "00000000000000000000.log"), filepath.Join(goldenPartition, "00000000000000000000.index")
	named, _, err := runLog(t, log, index)
	listed, _, err2 := runLog(t, "--files", log+","+index, "--max-message-size", "100")
	if err != nil || err2 != nil || named != listed || strings.Count(named, "Dumping ") != 2 {
		t.Errorf("%v %v\n%s\n%s", err, err2, named, listed)
	}
	all, errs, err := runLog(t, goldenPartition)
	entries, _ := os.ReadDir(goldenPartition)
	if err != nil || strings.Count(all, "Dumping ") != len(entries) || !strings.Contains(errs, "Ignoring unknown file "+goldenPartition+"/partition.metadata\n") {
		t.Errorf("%v, %s", err, errs)
	}
	for args, want := range map[string]string{
		"--print-data-log":                         " key: key-0 payload: ",
		"--deep-iteration":                         "| offset: 0 ",
		"--print-data-log --skip-record-metadata":  "\n| key: key-0 payload: ",
		"--index-sanity-check":                     "00000000000000000000.index passed sanity check.\n",
		"--verify-index-only --max-bytes 400":      "position: 0 ",
		"--max-bytes 2147483647 --deep-iteration ": "| offset: 17 ",
	} {
		got, _, err := runLog(t, append(strings.Fields(args), log, index)...)
		if err != nil || !strings.Contains(got, want) || strings.Contains(args, "400") && strings.Count(got, "\n") != 4 {
			t.Errorf("%s: %v\n%s", args, err, got)
		}
	}
	for _, args := range [][]string{nil, {"--max-bytes", "0", log}, {filepath.Join(t.TempDir(), "gone.log")}} {
		if out, _, err := runLog(t, args...); err == nil {
			t.Errorf("%q: no error\n%s", args, out)
		}
	}
}
