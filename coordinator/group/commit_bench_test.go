package group

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testpg"
	"varve/metadata"
)

// BenchmarkCommits has the clients of 50 groups commit 10 partitions each, as fast as they are answered. An operation is
// one request.
func BenchmarkCommits(b *testing.B) {
	for _, clients := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkCommits(b, 50, clients, 10) })
	}
}

func benchmarkCommits(b *testing.B, groups, clients, partitions int) {
	h := newHouse(b, testpg.URL(b))
	topic := metadata.NewTopic{Name: "many"}
	for range clients * partitions {
		topic.Assignment = append(topic.Assignment, []metadata.BrokerID{1})
	}
	if _, err := h.store.CreateTopics(b.Context(), []metadata.NewTopic{topic}, false); err != nil {
		b.Fatal(err)
	}
	counted := &countingStore{Store: h.store}
	c := h.start(b, 1, func(cfg *Config) { cfg.Store = counted })
	c.Apply(h.assign(b))
	eventually(b, "the shards to load", func() bool {
		return c.ListGroups(b.Context(), kmsg.NewPtrListGroupsRequest()).ErrorCode == 0
	})
	var left atomic.Int64
	left.Store(int64(b.N))
	var work sync.WaitGroup
	counted.commits.Store(0)
	b.ResetTimer()
	start := time.Now()
	for g := range groups {
		for k := range clients {
			work.Go(func() {
				r := commitRequest(fmt.Sprintf("group-%d", g), "", -1, 0, 0)
				r.Topics[0].Topic, r.Topics[0].Partitions = "many", nil
				for p := range partitions {
					x := kmsg.NewOffsetCommitRequestTopicPartition()
					x.Partition = int32(k*partitions + p)
					r.Topics[0].Partitions = append(r.Topics[0].Partitions, x)
				}
				for left.Add(-1) >= 0 {
					for p := range r.Topics[0].Partitions {
						r.Topics[0].Partitions[p].Offset++
					}
					if code := commitCode(c.OffsetCommit(b.Context(), r)); code != 0 {
						b.Error(kerr.ErrorForCode(code))
						return
					}
				}
			})
		}
	}
	work.Wait()
	seconds := time.Since(start).Seconds()
	b.ReportMetric(float64(b.N*partitions)/seconds, "offsets/s")
	b.ReportMetric(float64(b.N*partitions)/float64(max(counted.commits.Load(), 1)), "offsets/tx")
	b.ReportMetric(0, "ns/op")
}
