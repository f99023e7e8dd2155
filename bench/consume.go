package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A fetcher reads a topic with Fetch v11 without sessions, as fast as answers come, and counts bytes of records only: batches are
// walked by their headers.
type fetcher struct {
	c     *client
	topic string
	next  []int64 // per partition: the next offset
	bytes int64
}

func newFetcher(addr, topic string, from []int64) (*fetcher, error) {
	c, err := dial(addr)
	return &fetcher{c: c, topic: topic, next: from}, err
}

const (
	fetchMax          = 16 << 20 // bytes of one answer
	fetchPartitionMax = 4 << 20  // bytes of one partition in it
)

// poll sends one fetch for all partitions and reads the answer. It returns the record bytes that came.
func (f *fetcher) poll(maxWait time.Duration) (int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 11
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(maxWait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = fetchMax
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = f.topic
	for p, offset := range f.next {
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition = int32(p)
		rp.CurrentLeaderEpoch = -1
		rp.FetchOffset = offset
		rp.LogStartOffset = -1
		rp.PartitionMaxBytes = fetchPartitionMax
		t.Partitions = append(t.Partitions, rp)
	}
	req.Topics = append(req.Topics, t)
	if _, err := f.c.conn.Write(frame(req)); err != nil {
		return 0, err
	}
	_, body, err := f.c.receive()
	if err != nil {
		return 0, err
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 11
	if err := resp.UnsafeReadFrom(body); err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, err
	}
	var got int64
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return got, fmt.Errorf("fetch %s-%d at %d: %w", f.topic, p.Partition, f.next[p.Partition], err)
			}
			got += f.take(p.Partition, p.RecordBatches)
		}
	}
	f.bytes += got
	return got, nil
}

// take walks whole batches and moves the partition's next offset past them.
func (f *fetcher) take(partition int32, b []byte) int64 {
	var got int64
	for len(b) >= 61 {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if len(b) < size {
			break
		}
		base := int64(binary.BigEndian.Uint64(b))
		f.next[partition] = base + int64(binary.BigEndian.Uint32(b[23:])) + 1
		got += int64(size)
		b = b[size:]
	}
	return got
}

// readTo polls until every partition has reached its end.
func (f *fetcher) readTo(end []int64) error {
	deadline := time.Now().Add(5 * time.Minute)
	for !f.reached(end) {
		if _, err := f.poll(500 * time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: at %v of %v after five minutes", f.topic, f.next, end)
		}
	}
	return nil
}

func (f *fetcher) reached(end []int64) bool {
	for p, o := range f.next {
		if o < end[p] {
			return false
		}
	}
	return true
}
