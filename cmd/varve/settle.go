package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/replica"
)

const (
	// settleWait bounds how long a starting broker waits for its leaderships before it opens to clients all the same.
	settleWait = 10 * time.Second
	settlePoll = 5 * time.Millisecond
)

// settle waits until this broker leads what it can lead, so that the first clients after a restart find leaders rather than retriable
// errors. It gives up after settleWait: a partition that cannot be led must not keep the others from being served.
func (b *broker) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	self, dirs := metadata.BrokerID(b.cfg.NodeID), make([]metadata.DirID, 0, len(b.dirs))
	for _, d := range b.dirs {
		dirs = append(dirs, d.ID())
	}
	for unsettled := -1; ; {
		if unsettled = countUnsettled(b.publisher.Image(), self, dirs, b.partitions); unsettled == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.log.Warn("serving although partitions that this broker should lead are not led yet", "partitions", unsettled)
			return
		}
	}
}

// countUnsettled counts the partitions that self leads, or is about to be elected for, and does not serve yet.
func countUnsettled(im *metadata.Image, self metadata.BrokerID, dirs []metadata.DirID, m *replica.Manager) int {
	n := 0
	for _, t := range im.Topics {
		for _, p := range t.Partitions {
			i := slices.Index(p.Replicas, self)
			switch {
			case i < 0:
			case p.Leader == self && p.Recovery == metadata.Recovered:
				replica, err := m.Partition(p.TopicPartition)
				if errors.Is(err, kerr.NotLeaderForPartition) || err == nil && (!replica.Leading() || replica.Log().Durable() < replica.Log().End()) {
					n++
				}
			case p.Leader == metadata.NoBroker && slices.Contains(p.ISR, self) && (p.Dirs[i] == uuid.Nil || slices.Contains(dirs, p.Dirs[i])):
				n++
			}
		}
	}
	return n
}
