package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tierPoll is how often the demo asks how far the tier is.
const tierPoll = 200 * time.Millisecond

// tierState is where the tiers meet in each partition.
type tierState struct {
	tiered [demoPartitions]int64 // last offset in the bucket, -1: none
	local  [demoPartitions]int64 // first offset on local disk
}

// awaitTier waits until the bucket holds all but the active segments and the local copies of what it holds are gone.
func (d *demo) awaitTier(ctx context.Context) (tierState, error) {
	fmt.Fprintln(d.out, "waiting for the sealed segments to be live in the bucket and their local copies to go")
	tick := time.NewTicker(tierPoll)
	defer tick.Stop()
	for {
		var s tierState
		var err error
		done := true
		for p := range int32(demoPartitions) {
			if s.tiered[p], err = d.offset(ctx, p, -5); err != nil {
				return s, err
			}
			if s.local[p], err = d.offset(ctx, p, -4); err != nil {
				return s, err
			}
			done = done && s.tiered[p] >= 0 && s.local[p] == s.tiered[p]+1
		}
		if done {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, fmt.Errorf("the bucket has offsets up to %v and local disk from %v on: does the broker have a bucket (varve.bucket.url)? %w", s.tiered, s.local, ctx.Err())
		}
	}
}

// offset asks ListOffsets: -4 earliest local, -5 latest tiered, otherwise by time.
func (d *demo) offset(ctx context.Context, partition int32, timestamp int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = d.topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, timestamp, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, d.cl)
	if err != nil {
		return 0, err
	}
	return resp.Topics[0].Partitions[0].Offset, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// replay reads everything from offset 0 and compares it.
func (d *demo) replay(ctx context.Context) error {
	var from [demoPartitions]int64
	return d.readFrom(ctx, from, "replaying from offset 0")
}

// replayByTime finds the middle event's time in every partition, checks the offsets that the broker gives for it, and reads on from there.
func (d *demo) replayByTime(ctx context.Context) error {
	var from [demoPartitions]int64
	middle := d.source.partitions[0][len(d.source.partitions[0])/2].timestamp
	for p := range from {
		got, err := d.offset(ctx, int32(p), middle)
		if err != nil {
			return err
		}
		want := int64(-1)
		for o, s := range d.source.partitions[p] {
			if s.timestamp >= middle {
				want = int64(o)
				break
			}
		}
		if got != want {
			return fmt.Errorf("partition %d: offset %d for %s, want %d", p, got, time.UnixMilli(middle).UTC(), want)
		}
		if from[p] = got; got < 0 {
			from[p] = int64(len(d.source.partitions[p]))
		}
	}
	return d.readFrom(ctx, from, "replaying from "+time.UnixMilli(middle).UTC().Format(time.RFC3339))
}

// readFrom reads to the end and compares every record with its source.
func (d *demo) readFrom(ctx context.Context, from [demoPartitions]int64, what string) error {
	at := map[int32]kgo.Offset{}
	left := 0
	for p, o := range from {
		at[int32(p)] = kgo.NewOffset().At(o)
		left += len(d.source.partitions[p]) - int(o)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{d.topic: at}), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	bar := d.bar(left, what)
	defer bar.Finish()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d records did not come: %w", left, err)
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset != from[r.Partition] {
				return fmt.Errorf("partition %d: offset %d came where %d was due", r.Partition, r.Offset, from[r.Partition])
			}
			if want := d.source.partitions[r.Partition][r.Offset]; sumOf(r) != want {
				return fmt.Errorf("partition %d: the record at offset %d is not the one that went in", r.Partition, r.Offset)
			}
			from[r.Partition]++
			left--
			_ = bar.Add(1)
		}
	}
	return nil
}

// requestCounts are counters of the broker by name; nil: unknown.
type requestCounts map[string]float64

// requests reads the broker's counters of segments and of object-store requests.
func (d *demo) requests(ctx context.Context) requestCounts {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.http+"/metrics", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	counts := requestCounts{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch op, ok := strings.CutPrefix(name, `varve_bucket_requests_total{op="`); {
		case err != nil:
		case ok:
			counts[strings.TrimSuffix(op, `"}`)] = n
		case name == "varve_tier_copy_segments_total":
			counts["segments"] = n
		}
	}
	return counts
}
