package historycheck

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A Reader reads the partitions of a topic in passes that go on where the last call stopped. It is not for concurrent use.
type Reader struct {
	history     *History
	addr, topic string
	passes      map[int32]*pass
}

// NewReader makes a reader that begins at the start of each partition. addr is that of any brokers, comma-separated.
func NewReader(h *History, addr, topic string) *Reader {
	return &Reader{history: h, addr: addr, topic: topic, passes: map[int32]*pass{}}
}

// ReadToEnd reads up to the end that each partition has when the call begins, and judges what it reads. It returns the number of
// records read, and an error when the broker does not answer in time; broken rules are the history's.
func (r *Reader) ReadToEnd(ctx context.Context) (int, error) {
	admin, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(r.addr, ",")...), kgo.MetadataMinAge(metadataMinAge))
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	known := r.history.known() // before the ends
	ends, err := r.ends(ctx, admin)
	if err != nil {
		return 0, err
	}
	from := map[int32]kgo.Offset{}
	open := map[int32]int64{}
	for p, end := range ends {
		if r.passes[p] == nil {
			r.passes[p] = &pass{seqs: map[string]int64{}}
		}
		if r.passes[p].next < end {
			from[p], open[p] = kgo.NewOffset().At(r.passes[p].next), end
		} else {
			r.history.ended(r.passes[p], p, end, known[p])
		}
	}
	if len(open) == 0 {
		return 0, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(r.addr, ",")...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: from}),
		kgo.MetadataMinAge(metadataMinAge), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	return r.drain(ctx, cl, open, known)
}

func (r *Reader) ends(ctx context.Context, cl *kgo.Client) (map[int32]int64, error) {
	for {
		listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, r.topic)
		if err == nil {
			err = listed.Error()
		}
		if err == nil {
			ends := map[int32]int64{}
			listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
			return ends, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("end offsets of %s: %w", r.topic, err)
		}
	}
}

// drain polls until every open partition has been read to its end.
func (r *Reader) drain(ctx context.Context, cl *kgo.Client, open, known map[int32]int64) (int, error) {
	n := 0
	for len(open) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return n, fmt.Errorf("%s: reading stopped with %v to go: %w", r.topic, open, ctx.Err())
		}
		for _, e := range fetches.Errors() {
			return n, fmt.Errorf("fetching %s-%d: %w", r.topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			end, ok := open[rec.Partition]
			if !ok || rec.Offset >= end {
				return // written since
			}
			n++
			r.history.read(r.passes[rec.Partition], rec.Partition, rec.Offset, rec.Value)
			if rec.Offset == end-1 {
				r.history.ended(r.passes[rec.Partition], rec.Partition, end, known[rec.Partition])
				delete(open, rec.Partition)
			}
		})
	}
	return n, nil
}
