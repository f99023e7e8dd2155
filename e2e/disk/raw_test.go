//go:build e2e

package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// wait is how long something may take that needs no fault to go away.
const wait = 60 * time.Second

// connect makes a client whose Produce and Fetch name topics by name.
func connect(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(0, 12)
	versions.SetMaxKeyVersion(1, 12)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MaxVersions(versions))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// ask sends a request to the one broker.
func ask[R kmsg.Response](t *testing.T, cl *kgo.Client, req kmsg.Request) R {
	t.Helper()
	resp, err := cl.SeedBrokers()[0].RetriableRequest(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return resp.(R)
}

// listOffset asks for an offset by (special) timestamp.
func listOffset(t *testing.T, cl *kgo.Client, topic string, p int32, timestamp int64) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p, timestamp, -1
	top := kmsg.NewListOffsetsRequestTopic()
	top.Topic, top.Partitions = topic, append(top.Partitions, part)
	req.Topics = append(req.Topics, top)
	got := ask[*kmsg.ListOffsetsResponse](t, cl, req).Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

const (
	latest       = -1
	earliest     = -2
	latestTiered = -5
)

// leader is a partition's leader, -1 for none.
func leader(t *testing.T, cl *kgo.Client, topic string, p int32) int32 {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	top := kmsg.NewMetadataRequestTopic()
	top.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, top)
	for _, part := range ask[*kmsg.MetadataResponse](t, cl, req).Topics[0].Partitions {
		if part.Partition == p {
			return part.Leader
		}
	}
	t.Fatalf("no partition %d of %s", p, topic)
	return 0
}

// elect asks for an unclean election of all partitions of a topic.
func elect(t *testing.T, cl *kgo.Client, topic string, partitions ...int32) {
	t.Helper()
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType, req.TimeoutMillis = 1, int32(wait.Milliseconds())
	top := kmsg.NewElectLeadersRequestTopic()
	top.Topic, top.Partitions = topic, partitions
	req.Topics = append(req.Topics, top)
	resp := ask[*kmsg.ElectLeadersResponse](t, cl, req)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatalf("ElectLeaders: %v", err)
	}
	for _, got := range resp.Topics {
		for _, part := range got.Partitions {
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				t.Errorf("ElectLeaders of %s-%d: %v", topic, part.Partition, err)
			}
		}
	}
}

// batches fetches the raw batches of [0, end) and returns a checksum of each by base offset: of all its bytes.
func batches(t *testing.T, cl *kgo.Client, topic string, p int32, end int64) map[int64]uint32 {
	t.Helper()
	sums := map[int64]uint32{}
	for next, deadline := int64(0), time.Now().Add(wait); next < end; {
		if time.Now().After(deadline) {
			t.Fatalf("%s-%d: at offset %d of %d after %v", topic, p, next, end, wait)
		}
		raw, err := fetch(t, cl, topic, p, next)
		if kerr.IsRetriable(err) {
			continue
		} else if err != nil {
			t.Fatalf("fetching %s-%d at %d: %v", topic, p, next, err)
		}
		for len(raw) > 61 {
			base := int64(binary.BigEndian.Uint64(raw))
			size := 12 + int(binary.BigEndian.Uint32(raw[8:]))
			if size > len(raw) {
				break // cut by the byte limit
			}
			last := base + int64(binary.BigEndian.Uint32(raw[23:]))
			if last < end {
				sums[base] = crc32.ChecksumIEEE(raw[:size])
			}
			next = last + 1
			raw = raw[size:]
		}
	}
	return sums
}

func fetch(t *testing.T, cl *kgo.Client, topic string, p int32, offset int64) ([]byte, error) {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 500, 1, 8<<20, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = p, offset, 4<<20, -1
	top := kmsg.NewFetchRequestTopic()
	top.Topic, top.Partitions = topic, append(top.Partitions, part)
	req.Topics = append(req.Topics, top)
	got := ask[*kmsg.FetchResponse](t, cl, req).Topics[0].Partitions[0]
	return got.RecordBatches, kerr.ErrorForCode(got.ErrorCode)
}

// A producer is an idempotent producer that can repeat itself.
type producer struct {
	topic     string
	partition int32
	id        int64
}

func newProducer(t *testing.T, cl *kgo.Client, topic string, p int32) *producer {
	t.Helper()
	resp := ask[*kmsg.InitProducerIDResponse](t, cl, kmsg.NewPtrInitProducerIDRequest())
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatal(err)
	}
	return &producer{topic, p, resp.ProducerID}
}

// send produces a batch of one record with a sequence number, always the same bytes for the same number.
func (pr *producer) send(t *testing.T, cl *kgo.Client, seq int32) (int64, error) {
	t.Helper()
	value := fmt.Sprintf("raw %d", seq)
	rec := kmsg.NewRecord()
	rec.Value = []byte(value)
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // without the length itself, one byte here
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch, batch.Magic = -1, 2
	now := time.Now().UnixMilli() // a producer whose last record is older than a day is forgotten
	batch.FirstTimestamp, batch.MaxTimestamp = now, now
	batch.ProducerID, batch.FirstSequence, batch.NumRecords = pr.id, seq, 1
	batch.Records = rec.AppendTo(nil)
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))

	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = pr.partition, raw
	top := kmsg.NewProduceRequestTopic()
	top.Topic, top.Partitions = pr.topic, append(top.Partitions, part)
	req.Topics = append(req.Topics, top)
	got := ask[*kmsg.ProduceResponse](t, cl, req).Topics[0].Partitions[0]
	return got.BaseOffset, kerr.ErrorForCode(got.ErrorCode)
}
