package ingest

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
	"varve/internal/config"
)

var now = time.UnixMilli(1_700_000_000_000)

func topic(change func(*config.Topic)) *config.Topic {
	c := &config.Topic{CleanupDelete: true, CompressionType: "producer", MaxMessageBytes: 1 << 20, SegmentBytes: 1 << 30,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: time.Hour.Milliseconds()}
	if change != nil {
		change(c)
	}
	return c
}

func plain(change func(*record.Builder)) record.Batch {
	b := record.NewBuilder()
	if change != nil {
		change(b)
	}
	return b.Add(now.UnixMilli(), []byte("k"), []byte("v")).Add(now.UnixMilli()+5, nil, []byte("w")).Build()
}

func TestEachCheckRefusesWhatKafkaRefuses(t *testing.T) {
	broken := plain(nil)
	broken[len(broken)-1] ^= 1
	based := plain(nil)
	based.SetBaseOffset(4)
	future := record.NewBuilder().Add(now.Add(2*time.Hour).UnixMilli(), nil, nil).Build()
	cases := []struct {
		name   string
		batch  record.Batch
		change func(*config.Topic)
		want   error
	}{
		{"good", plain(nil), nil, nil},
		{"base offset", based, nil, kerr.InvalidRecord},
		{"CRC", broken, nil, kerr.CorruptMessage},
		{"too large", plain(nil), func(c *config.Topic) { c.MaxMessageBytes = 70 }, kerr.MessageTooLarge},
		{"larger than a segment", plain(nil), func(c *config.Topic) { c.SegmentBytes = 70 }, kerr.RecordListTooLarge},
		{"control", plain(func(b *record.Builder) { b.Control = true }), nil, kerr.InvalidRecord},
		{"no sequence", plain(func(b *record.Builder) { b.ProducerID = 9 }), nil, kerr.InvalidRecord},
		{"no key", plain(nil), func(c *config.Topic) { c.CleanupCompact = true }, kerr.InvalidRecord},
		{"future", future, nil, kerr.InvalidTimestamp},
		{"future, LogAppendTime", future, func(c *config.Topic) { c.MessageTimestampAppend = true }, nil},
		{"no records", record.NewBuilder().Build(), nil, kerr.InvalidRecord},
	}
	for _, c := range cases {
		_, err := check{"t-0", topic(c.change), now}.batch(bytes.Clone(c.batch))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestARefusedRecordIsNamedInKafkasWords(t *testing.T) {
	_, err := check{"wire-compact-0", topic(func(c *config.Topic) { c.CleanupCompact = true }), now}.batch(plain(nil))
	want := "One or more records have been rejected due to 1 record errors in total, and only showing the first three errors at most: " +
		"[RecordError(batchIndex=1, message='Compacted topic cannot accept message without key in topic partition wire-compact-0')]"
	var refused *recordsError
	if !errors.As(err, &refused) || refused.Error() != want || refused.records[0].Index != 1 {
		t.Fatal(err)
	}
}

func TestLogAppendTimeAndCompressionRewriteTheBatch(t *testing.T) {
	b, err := check{"t-0", topic(func(c *config.Topic) { c.MessageTimestampAppend, c.CompressionType = true, "zstd" }), now}.batch(plain(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !b.LogAppendTime() || b.MaxTimestamp() != now.UnixMilli() || b.Codec() != record.Zstd || !b.CheckCRC() || b.Count() != 2 {
		t.Fatalf("append time %v, max %d, codec %v, CRC %v", b.LogAppendTime(), b.MaxTimestamp(), b.Codec(), b.CheckCRC())
	}
}

func TestOneBatchPerPartition(t *testing.T) {
	one := plain(nil)
	old := bytes.Clone(one)
	old[16] = 1
	zstd := plain(func(b *record.Builder) { b.Codec = record.Zstd })
	for name, c := range map[string]struct {
		records []byte
		version int16
		want    error
	}{
		"one": {one, 9, nil}, "null": {nil, 9, kerr.InvalidRecord}, "two": {append(bytes.Clone(one), one...), 9, kerr.InvalidRecord},
		"cut": {one[:len(one)-1], 9, kerr.InvalidRecord}, "magic 1": {old, 9, kerr.InvalidRecord},
		"zstd v6": {zstd, 6, kerr.UnsupportedCompressionType}, "zstd v7": {zstd, 7, nil},
	} {
		if _, err := single(c.records, c.version); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestWalkingRecordsAllocatesNothingPerRecord(t *testing.T) {
	b := record.NewBuilder()
	for range 1000 {
		b.Add(now.UnixMilli(), []byte("k"), []byte("v"))
	}
	batch := b.Build()
	c := check{"t-0", topic(nil), now}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.batch(batch) }); n > 10 {
		t.Fatalf("%v allocations for 1000 records", n)
	}
}

// TestTimestampsWithoutLimits: Kafka's default of before.max, and the same for after.max, let every timestamp pass, microseconds taken for milliseconds too.
func TestTimestampsWithoutLimits(t *testing.T) {
	free := topic(func(c *config.Topic) { c.TimestampAfterMaxMs = math.MaxInt64 })
	for _, ts := range []int64{0, 1, now.UnixMicro(), 4_000_000_000_000} {
		b := record.NewBuilder().Add(ts, nil, nil).Build()
		if _, err := (check{"t-0", free, now}).batch(b); err != nil {
			t.Errorf("timestamp %d: %v", ts, err)
		}
	}
}
