package metadata

import (
	"context"
	"time"
)

const (
	probePause   = 30 * time.Millisecond
	probeTimeout = 500 * time.Millisecond
	// unheardMargin is how late a heartbeat of a silent broker must be.
	unheardMargin = 750 * time.Millisecond
	// maxSuspicions waiting to be looked into; a suspicion is repeated as long as there is reason for it.
	maxSuspicions = 64
)

// Vital is what a probe found.
type Vital int8

const (
	// Alive: it answers.
	Alive Vital = iota
	// Dead for certain: its host refused a connection.
	Dead
	// Silent: it did not answer in time. It is taken for dead if its heartbeats fail to come as well: a stopped process, or a host that is gone.
	Silent
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

// Suspect says that broker id refused or reset a connection, or does not answer. If probes confirm that it is dead, this node fences it,
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
	first := s.probe(ctx, b)
	if first == Alive {
		return
	}
	sleep(ctx, probePause)
	second := s.probe(ctx, b)
	if second == Alive || ctx.Err() != nil {
		return
	}
	x := Suspicion{By: n.cfg.Registration.ID, ByEpoch: n.Epoch(), Suspect: id, Epoch: b.Epoch}
	if first == Silent || second == Silent {
		x.Unheard = n.cfg.HeartbeatInterval + unheardMargin
	}
	began := time.Now()
	fenced, err := n.cfg.Membership.FenceSuspect(ctx, x)
	n.observe(ctx, err)
	switch {
	case err != nil && !unavailable(err) && ctx.Err() == nil:
		n.cfg.Logger.Error("fencing a broker that does not answer failed", "broker", id, "err", err)
	case fenced:
		s.fenced[id] = b.Epoch
		n.metrics.suspects.Inc()
		n.cfg.Logger.Warn("fenced a broker that does not answer, before its session ended", "refused", x.Unheard == 0,
			"broker", id, "epoch", b.Epoch, "host", b.Host, "port", b.Port, "took", time.Since(began).Round(time.Millisecond))
	}
}

func (s *suspicions) probe(ctx context.Context, b *Broker) Vital {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.node.cfg.Probe(ctx, b)
}
