package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// ISRStore changes in-sync sets in the metadata. Implemented by metadata/postgres.
type ISRStore interface {
	AlterISR(ctx context.Context, self metadata.BrokerID, epoch metadata.BrokerEpoch, changes []metadata.ISRChange) ([]metadata.ISROutcome, error)
}

const (
	isrBatch = 1000                   // changes of one transaction
	isrRetry = 200 * time.Millisecond // pause after an answer that said nothing
)

// isrWriter brings the in-sync sets of the partitions led here to what they should be: followers that caught up join as soon as they did, those that lag
// leave when half of the allowed lag later nobody has seen them catch up. Postgres is asked for many partitions at once, and until it has answered for sure.
type isrWriter struct {
	m    *Manager
	wake chan struct{}
	mu   struct {
		sync.Mutex
		queue map[*Partition]struct{}
	}
}

func newISRWriter(m *Manager) *isrWriter { return &isrWriter{m: m, wake: make(chan struct{}, 1)} }

// enqueue has p looked at soon.
func (w *isrWriter) enqueue(p *Partition) {
	w.mu.Lock()
	if w.mu.queue == nil {
		w.mu.queue = map[*Partition]struct{}{}
	}
	w.mu.queue[p] = struct{}{}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// enqueueShort has all partitions looked at that are led here and lack an in-sync replica.
func (w *isrWriter) enqueueShort() {
	w.m.Each(func(p *Partition) {
		if p.outside() {
			w.enqueue(p)
		}
	})
}

func (w *isrWriter) take() map[*Partition]struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.mu.queue
	w.mu.queue = nil
	return queue
}

func (w *isrWriter) run() {
	for {
		all := false
		select {
		case <-w.m.ctx.Done():
			return
		case <-w.wake:
		case <-time.After(w.m.cfg.Broker().ReplicaLagTimeMax / 2):
			all = true
		}
		queue := w.take()
		if all {
			queue = map[*Partition]struct{}{}
			w.m.Each(func(p *Partition) { queue[p] = struct{}{} })
		}
		w.pass(queue)
	}
}

func (w *isrWriter) pass(queue map[*Partition]struct{}) {
	var changes []metadata.ISRChange
	var parts []*Partition
	for p := range queue {
		if c, ok := p.proposeISR(time.Now()); ok {
			changes, parts = append(changes, c), append(parts, p)
		}
	}
	for len(changes) > 0 {
		n := min(len(changes), isrBatch)
		w.write(parts[:n], changes[:n])
		changes, parts = changes[n:], parts[n:]
	}
}

// write asks until there is an answer: a change whose outcome is not known may have happened.
func (w *isrWriter) write(parts []*Partition, changes []metadata.ISRChange) {
	for w.m.ctx.Err() == nil {
		outcomes, err := w.m.cfg.ISR.AlterISR(w.m.ctx, w.m.cfg.Self, w.m.cfg.Epoch(), changes)
		if err == nil {
			for i, o := range outcomes {
				w.settled(parts[i], changes[i], o)
			}
			return
		}
		if w.m.ctx.Err() == nil {
			w.m.cfg.Logger.Warn("in-sync replicas will be changed when the metadata database answers", "partitions", len(changes), "error", err)
		}
		select {
		case <-time.After(isrRetry):
		case <-w.m.ctx.Done():
		}
	}
}

func (w *isrWriter) settled(p *Partition, c metadata.ISRChange, o metadata.ISROutcome) {
	refused := errors.Is(o.Err, kerr.IneligibleReplica)
	p.settleISR(c, o, refused, time.Now())
	switch {
	case o.Err != nil:
		w.m.cfg.Logger.Info("in-sync replicas not changed", "topic", p.topic, "partition", p.key.Partition, "reason", o.Err)
	case len(c.ISR) < len(o.Partition.Replicas):
		w.m.metrics.isrShrinks.Inc()
		w.m.cfg.Logger.Warn("in-sync replicas changed", "topic", p.topic, "partition", p.key.Partition, "isr", o.Partition.ISR, "replicas", o.Partition.Replicas)
	default:
		w.m.metrics.isrExpands.Inc()
	}
}
