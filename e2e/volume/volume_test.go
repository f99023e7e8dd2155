//go:build e2e

package volume

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
)

var total = flag.Int64("records", 10_000_000, "records to send")

func TestMain(m *testing.M) { testcluster.Main(m) }

const (
	topic      = "volume"
	partitions = 4
	keys       = 400_000 // each is written some 25 times
	wait       = 3 * time.Minute
)

// Record i goes to partition i % partitions, at offset i / partitions: producers are idempotent and each partition has one.

// key of record i: spread, so that compaction has something to remove in every segment.
func key(i int64) uint64 {
	return uint64(i) * 0x9e3779b97f4a7c15 >> 20 % keys / partitions * partitions
}

// fill writes key and value of record i into b: the value is of varying length, says its number and can be checked.
func fill(b []byte, i int64) (k, v []byte) {
	k = binary.BigEndian.AppendUint64(b[:0], key(i)+uint64(i%partitions)) // keys of one partition stay there
	v = binary.BigEndian.AppendUint64(k[8:], uint64(i))
	for n := i % 61; n >= 0; n-- {
		v = append(v, byte(i>>(n%8)))
	}
	return k, v
}

// sums are the checksums of the records of each partition, in order.
type sums [partitions]uint32

func (s *sums) add(p int32, k, v []byte) {
	table := crc32.IEEETable
	s[p] = crc32.Update(crc32.Update(s[p], table, k), table, v)
}

func connect(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestTenMillionRecords(t *testing.T) {
	b := testcluster.StartDev(t, t.TempDir())
	admin := kadm.NewClient(connect(t, b.Addr))
	configs := map[string]*string{"segment.bytes": new("4194304"), "remote.storage.enable": new("false"), "retention.ms": new("-1"), "min.cleanable.dirty.ratio": new("0")}
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	sent := produce(t, b)
	t.Logf("%d records were sent in %v, the broker killed twice", *total, time.Since(started).Round(time.Millisecond))

	started = time.Now()
	replayed, last := replay(t, b.Addr)
	if replayed.sums != sent || replayed.records != *total {
		t.Fatalf("%d records came back of %d, checksums %08x, sent were %08x", replayed.records, *total, replayed.sums, sent)
	}
	t.Logf("replayed in %v: %d keys", time.Since(started).Round(time.Millisecond), len(last))

	b.Stop(t)
	b.Start(t)
	started = time.Now()
	if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: new("compact")}}, topic); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: new("100")}}, 1); err != nil {
		t.Fatal(err)
	}
	awaitCompaction(t, b)
	t.Logf("compacted in %v: %.0f records were removed", time.Since(started).Round(time.Millisecond), b.Metric(t, "varve_replica_cleaner_removed_records_total"))
	b.Kill(t)
	b.Start(t)
	compacted, lastNow := replay(t, b.Addr)
	if len(lastNow) != len(last) {
		t.Fatalf("%d keys are left of %d", len(lastNow), len(last))
	}
	var want, got uint32 // of the last record of each key, in the order of keys
	for k := range uint64(keys) {
		want = crc32.Update(want, crc32.IEEETable, binary.BigEndian.AppendUint64(nil, uint64(last[k])))
		got = crc32.Update(got, crc32.IEEETable, binary.BigEndian.AppendUint64(nil, uint64(lastNow[k])))
	}
	if want != got {
		t.Errorf("the last records of the keys have checksum %08x, %08x before compaction", got, want)
	}
	if compacted.records > *total/2 {
		t.Errorf("%d records of %d are left", compacted.records, *total)
	}
	t.Logf("%d records are left", compacted.records)
}

// produce sends all records and kills the broker twice meanwhile. It returns the checksums of what it sent.
func produce(t *testing.T, b *testcluster.Broker) (sent sums) {
	t.Helper()
	cl := connect(t, b.Addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(500_000), kgo.MaxBufferedRecords(100_000),
		kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	var failed atomic.Pointer[error]
	var acked atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
		acked.Add(1)
	}
	for i := range *total {
		k, v := fill(make([]byte, 0, 96), i)
		sent.add(int32(i%partitions), k, v)
		cl.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: k, Value: v}, promise)
		if i == *total/3 || i == *total*2/3 {
			b.Kill(t)
			b.Start(t)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	if acked.Load() != *total {
		t.Fatalf("%d records of %d are acknowledged", acked.Load(), *total)
	}
	return sent
}

type replayed struct {
	sums    sums
	records int64
}

// replay reads everything, checks every record by itself, and returns the last record of each key.
func replay(t *testing.T, addr string) (r replayed, last map[uint64]int64) {
	t.Helper()
	cl := connect(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	last = map[uint64]int64{}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	scratch := make([]byte, 0, 96)
	for open := partitions; open > 0; {
		f := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d records came: %v", r.records, err)
		}
		f.EachRecord(func(rec *kgo.Record) {
			i := int64(binary.BigEndian.Uint64(rec.Value))
			k, v := fill(scratch, i)
			if rec.Offset != i/partitions || int64(rec.Partition) != i%partitions || string(k) != string(rec.Key) || string(v) != string(rec.Value) {
				t.Fatalf("%d-%d holds record %d, or another of that number", rec.Partition, rec.Offset, i)
			}
			r.sums.add(rec.Partition, rec.Key, rec.Value)
			r.records++
			last[binary.BigEndian.Uint64(rec.Key)] = i
			if end, _ := ends.Lookup(topic, rec.Partition); rec.Offset == end.Offset-1 {
				open--
			}
		})
	}
	return r, last
}

// awaitCompaction waits until the cleaner has nothing left to do.
func awaitCompaction(t *testing.T, b *testcluster.Broker) {
	t.Helper()
	testcluster.Eventually(t, wait, func() error {
		passes, dirty := b.Metric(t, "varve_replica_cleaner_passes_total"), b.Metric(t, "kafka_log_logcleanermanager_max_dirty_percent")
		if passes < partitions || dirty > 0 {
			return fmt.Errorf("%v passes, %v %% are dirty", passes, dirty)
		}
		return nil
	})
}
