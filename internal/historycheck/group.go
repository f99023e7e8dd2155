package historycheck

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A Group is one consumer of a group that reads a topic while faults happen. It may read a record again after a rebalance, but must read
// each at least once, and as it was acknowledged.
type Group struct {
	history *History
	client  *kgo.Client
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// StartGroup joins the group and reads until Stop. addr is that of any brokers, comma-separated.
func StartGroup(h *History, addr, topic, group string) (*Group, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(addr, ",")...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second), kgo.SessionTimeout(10*time.Second),
		kgo.MetadataMinAge(metadataMinAge), kgo.DialTimeout(2*time.Second))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Group{history: h, client: cl, cancel: cancel}
	g.running.Go(func() {
		for ctx.Err() == nil {
			// Errors are those of the faults; what was not read is told by Missing.
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { h.groupRead(r.Partition, r.Offset, r.Value) })
		}
	})
	return g, nil
}

// groupRead judges one record that a group's member read.
func (h *History) groupRead(p int32, offset int64, value []byte) {
	m, err := Decode(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.violateLocked("partition %d, offset %d, read by the group: %v", p, offset, err)
		return
	}
	part := h.partitionLocked(p)
	h.noteLocked(p, part, offset, m, "read by the group")
	part.grouped[offset] = true
}

// missing counts the acknowledged records that the group has not read, and says where one is.
func (h *History) missing() (n int64, where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, part := range h.mu.partitions {
		for offset := range part.acked {
			if !part.grouped[offset] {
				n++
				where = fmt.Sprintf("partition %d, offset %d", p, offset)
			}
		}
	}
	return n, where
}

// Stop waits until every record that was acknowledged has been read, and leaves the group. It says what is missing after that time.
func (g *Group) Stop(within time.Duration) error {
	n, where := g.history.missing()
	for deadline := time.Now().Add(within); n > 0 && time.Now().Before(deadline); n, where = g.history.missing() {
		time.Sleep(100 * time.Millisecond) // between two looks
	}
	g.cancel()
	g.running.Wait()
	g.client.Close()
	if n > 0 {
		return fmt.Errorf("the group did not read %d acknowledged records within %v, one at %s", n, within, where)
	}
	return nil
}
