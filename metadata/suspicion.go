package metadata

import (
	"context"
	"time"
)

const (
	probePause   = 30 * time.Millisecond
	probeTimeout = 250 * time.Millisecond
	// maxSuspicions waiting to be looked into; a suspicion is repeated as long as there is reason for it.
	maxSuspicions = 64
)

// suspicions is the part of a Node that looks into the suspected deaths of other brokers, one at a time.
type suspicions struct {
	node  *Node
	queue chan BrokerID
	// fenced holds the epoch in which a broker was fenced for a suspicion of this node. A broker that came back in the
	// same epoch was alive: it is not suspected again, or it would come and go. Owned by run.
	fenced map[BrokerID]BrokerEpoch
}

func newSuspicions(n *Node) *suspicions {
	return &suspicions{node: n, queue: make(chan BrokerID, maxSuspicions), fenced: map[BrokerID]BrokerEpoch{}}
}

// Suspect says that broker id refused or reset a connection. If probes confirm that it is dead, this node fences it,
// before its session runs out. It does not block and may be called from anywhere, at any time and often.
func (n *Node) Suspect(id BrokerID) {
	if n.cfg.Probe == nil || id == n.cfg.Registration.ID || !n.cfg.Publisher.Image().Live(id) {
		return
	}
	select {
	case n.suspicions.queue <- id:
	default:
	}
}

func (s *suspicions) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-s.queue:
			s.look(ctx, id)
		}
	}
}

func (s *suspicions) look(ctx context.Context, id BrokerID) {
	n := s.node
	im := n.cfg.Publisher.Image()
	if !im.Live(id) || s.fenced[id] == im.Brokers[id].Epoch {
		return
	}
	b := im.Brokers[id]
	if s.alive(ctx, b) {
		return
	}
	if sleep(ctx, probePause); s.alive(ctx, b) || ctx.Err() != nil {
		return
	}
	began := time.Now()
	fenced, err := n.cfg.Membership.FenceSuspect(ctx, n.cfg.Registration.ID, n.Epoch(), id, b.Epoch)
	n.observe(ctx, err)
	switch {
	case err != nil && !unavailable(err) && ctx.Err() == nil:
		n.cfg.Logger.Error("fencing a broker that refuses connections failed", "broker", id, "err", err)
	case fenced:
		s.fenced[id] = b.Epoch
		n.metrics.suspects.Inc()
		n.cfg.Logger.Warn("fenced a broker that refuses connections, before its session ended",
			"broker", id, "epoch", b.Epoch, "host", b.Host, "port", b.Port, "took", time.Since(began).Round(time.Millisecond))
	}
}

func (s *suspicions) alive(ctx context.Context, b *Broker) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.node.cfg.Probe(ctx, b)
}
