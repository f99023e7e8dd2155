//go:build e2e

package faults

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

// TestRottenSegments flips a bit in every sealed segment of a partition and in its active one, under a running broker. What is live in the bucket is read from there,
// unchanged, and the files are repaired; of the active segment all records but those of the damaged batch are served, and never a changed one; a metric and a line
// of the log say so. A scrub finds what nobody reads.
func TestRottenSegments(t *testing.T) {
	b := testcluster.StartDev(t, t.TempDir())
	cl := connect(t, b.Addr, kgo.ProducerBatchMaxBytes(20_000))
	create(t, cl, "t", map[string]string{"segment.bytes": "1048576", "local.retention.ms": "-1", "retention.ms": "-1"})
	admin := kadm.NewClient(cl)
	const records, size = 4000, 1000
	for i := range records / 100 {
		batch := make([]*kgo.Record, 100)
		for j := range batch {
			value := make([]byte, size)
			binary.BigEndian.PutUint64(value, uint64(100*i+j))
			batch[j] = &kgo.Record{Topic: "t", Value: value}
		}
		if err := cl.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	sealed := b.Segments(t, "t", 0)
	active := sealed[len(sealed)-1]
	sealed = sealed[:len(sealed)-1]
	testcluster.Eventually(t, wait, func() error {
		if n := b.Metric(t, "varve_tier_copy_segments_total"); n != float64(len(sealed)) {
			return fmt.Errorf("%v segments of %d are live", n, len(sealed))
		}
		return nil
	})

	file := func(base int64) string { return filepath.Join(b.LogDir(t), "t-0", fmt.Sprintf("%020d.log", base)) }
	b.Stop(t) // else the newest bytes would be served from memory
	b.Start(t)
	sound := map[int64][]byte{}
	for _, base := range sealed {
		sound[base] = rot(t, file(base))
	}
	read(t, b.Addr, 0, active, 0)
	testcluster.Eventually(t, wait, func() error {
		for base, want := range sound {
			if got, err := os.ReadFile(file(base)); err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("the segment at %d is not repaired: %v", base, err)
			}
		}
		return nil
	})
	if n := b.Metric(t, "varve_commitlog_repaired_segments_total"); n < float64(len(sealed)) {
		t.Errorf("%v segments are counted as repaired", n)
	}
	if !strings.Contains(b.LogText(t), "a segment is damaged") {
		t.Error("the log says nothing of it")
	}

	// Nobody reads the first segment now.
	want := rot(t, file(0))
	if _, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "varve.scrub.interval.ms", Value: new("1000")}}, 1); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, wait, func() error {
		if got, err := os.ReadFile(file(0)); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("the scrubber has not found it: %v", err)
		}
		return nil
	})

	b.Stop(t)
	rot(t, file(active))
	b.Start(t)
	read(t, b.Addr, 0, records, records-active)
}

// rot flips a bit in the middle of a file, and returns what was in it.
func rot(t *testing.T, path string) (sound []byte) {
	t.Helper()
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(len(sound) / 2)
	if _, err := f.WriteAt([]byte{sound[at] ^ 4}, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return sound
}

// read consumes [from, to) and checks every record; up to missing of them may be refused.
func read(t *testing.T, addr string, from, to, missing int64) {
	t.Helper()
	cl := connect(t, addr, kgo.FetchMaxPartitionBytes(100_000))
	seen := int64(0)
	for at := from; at < to; {
		batches, err := fetchOnce(t, cl, at)
		if err != nil {
			at++ // refused: behind the damage there may be more
			continue
		}
		for _, r := range batches {
			if n := int64(binary.BigEndian.Uint64(r.Value)); n != r.Offset || bytes.Count(r.Value[8:], []byte{0}) != len(r.Value)-8 {
				t.Fatalf("offset %d holds record %d, or another value", r.Offset, n)
			}
			if r.Offset >= at && r.Offset < to {
				at, seen = r.Offset+1, seen+1
			}
		}
	}
	if lost := to - from - seen; lost > missing || missing > 0 && lost == 0 {
		t.Errorf("%d of %d records are served, %d may be missing", seen, to-from, missing)
	}
}

// fetchOnce reads once from an offset of partition 0 of "t"; the error is the partition's.
func fetchOnce(t *testing.T, cl *kgo.Client, offset int64) ([]*kgo.Record, error) {
	t.Helper()
	topics, err := kadm.NewClient(cl).ListTopics(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 5000, 1, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 100_000
	req.Topics = []kmsg.FetchRequestTopic{{TopicID: topics["t"].ID, Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	answer, err := cl.Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got := answer.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatal(err)
		}
		return nil, err
	}
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: offset, Topic: "t"}, &got, kgo.DefaultDecompressor(), nil)
	return fp.Records, fp.Err
}
