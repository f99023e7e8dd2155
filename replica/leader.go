package replica

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// lead takes up leadership in s.LeaderEpoch, or takes in what else changed of a partition that is led already.
func (p *Partition) lead(s *metadata.Partition, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removed.Load() {
		return nil
	}
	if r := p.role.Load(); r.leading && r.epoch == s.LeaderEpoch {
		alone := len(s.Replicas) == 1
		if alone != r.alone {
			next := *r
			next.alone = alone
			p.role.Store(&next)
		}
		p.isr.Lock()
		p.isr.take(s, now)
		outside := p.isr.outside()
		p.isr.Unlock()
		p.progress(now)
		if outside {
			p.manager.isr.enqueue(p)
		}
		return nil
	}
	l := p.log.Load()
	if err := l.BecomeLeader(s.LeaderEpoch); err != nil {
		return err
	}
	if p.manager.cfg.OnLead != nil {
		p.manager.cfg.OnLead(p.key)
	}
	p.isr.Lock()
	p.isr.inSync = newInSync(s, p.manager.cfg.Self, l.End(), now)
	p.isr.Unlock()
	p.role.Store(&role{leading: true, epoch: s.LeaderEpoch, leader: p.manager.cfg.Self, alone: len(s.Replicas) == 1, epochStart: l.End()})
	p.progress(now) // after the role: the log's callback may have looked at the old one
	p.watch.tell()
	return nil
}

// resign stops leading; the partition follows leader from here on, or nobody.
func (p *Partition) resign(epoch int32, leader metadata.BrokerID) {
	p.mu.Lock()
	p.role.Store(&role{epoch: epoch, leader: leader})
	p.isr.Lock()
	p.isr.inSync = nil
	p.isr.Unlock()
	p.mu.Unlock()
	p.watch.tell()
}

// durable is the log's callback, on the syncer's goroutine.
func (p *Partition) durable(end int64) {
	switch r := p.role.Load(); {
	case r.leading && r.alone:
		p.advance(end)
	case r.leading:
		p.progress(time.Now())
	}
	p.manager.waiters.Touch(p.key)
}

// progress raises the high watermark as far as the in-sync replicas allow. Followers learn it with their next fetch.
func (p *Partition) progress(now time.Time) {
	if hw := p.reached(now); p.advance(hw) {
		p.manager.waiters.Touch(p.key)
	}
}

// reached returns the offset below which all in-sync replicas are durable, -1: the high watermark must not move.
func (p *Partition) reached(now time.Time) int64 {
	need, lag := int(p.cfg.Load().MinInsyncReplicas), p.manager.cfg.Broker().ReplicaLagTimeMax
	durable := p.log.Load().Durable()
	p.isr.Lock()
	defer p.isr.Unlock()
	if p.isr.inSync == nil {
		return -1
	}
	return p.isr.highWatermark(durable, need, now, lag, p.manager.eligible)
}

// minISR returns how many in-sync replicas a write with acks=all needs and how many there are.
func (p *Partition) minISR() (need, have int) {
	p.isr.Lock()
	defer p.isr.Unlock()
	if p.isr.inSync == nil {
		return 0, 0
	}
	return min(int(p.cfg.Load().MinInsyncReplicas), p.isr.replicas), len(p.isr.committed)
}

// ISR returns how many replicas are in sync and how many there are, 0, 0 unless leading.
func (p *Partition) ISR() (inSync, replicas int) {
	p.isr.Lock()
	defer p.isr.Unlock()
	if p.isr.inSync == nil {
		return 0, 0
	}
	return len(p.isr.committed), p.isr.replicas
}

// NearReplica returns the in-sync follower on the given rack from which a consumer should read at offset: the one that has most. NoBroker: this leader is on
// that rack itself, nobody is, or this broker does not lead.
func (p *Partition) NearReplica(rack string, offset int64) metadata.BrokerID {
	im := p.manager.image.Load()
	own := im.Brokers[p.manager.cfg.Self]
	if rack == "" || own == nil || own.Rack == rack {
		return metadata.NoBroker
	}
	p.isr.Lock()
	defer p.isr.Unlock()
	if p.isr.inSync == nil {
		return metadata.NoBroker
	}
	near, most := metadata.NoBroker, offset-1
	for _, id := range p.isr.committed {
		if f := p.isr.followers[id]; f != nil && f.end > most && im.Live(id) && im.Brokers[id].Rack == rack {
			near, most = id, f.end
		}
	}
	return near
}

// outside reports whether this broker leads and a replica is not in the ISR, one that a reassignment adds included.
func (p *Partition) outside() bool {
	p.isr.Lock()
	defer p.isr.Unlock()
	return p.isr.inSync != nil && p.isr.inSync.outside()
}

// grown tells the followers of records that they do not have.
func (p *Partition) grown(now time.Time) {
	p.isr.Lock()
	if p.isr.inSync != nil {
		p.isr.appended(now)
	}
	p.isr.Unlock()
	p.watch.tell()
}

// ReplicaFetched takes in that broker id, registered as epoch, has everything below offset on its disk and asks for what follows. It is called when the fetch
// is known not to diverge. UNKNOWN_LEADER_EPOCH: it has no replica as far as this broker knows, which may change soon.
func (p *Partition) ReplicaFetched(id metadata.BrokerID, epoch metadata.BrokerEpoch, offset int64, now time.Time) error {
	end := p.log.Load().End()
	p.isr.Lock()
	if p.isr.inSync == nil {
		p.isr.Unlock()
		return kerr.NotLeaderForPartition
	}
	known := p.isr.replicaFetched(id, epoch, offset, end, now)
	outside := p.isr.outside()
	p.isr.Unlock()
	if !known {
		return fmt.Errorf("%w: broker %d has no replica of %s-%d here", kerr.UnknownLeaderEpoch, id, p.topic, p.key.Partition)
	}
	p.progress(now)
	if outside {
		p.manager.isr.enqueue(p)
	}
	return nil
}

// proposeISR returns the change of the ISR that is due, and takes it for begun.
func (p *Partition) proposeISR(now time.Time) (c metadata.ISRChange, ok bool) {
	r, lag := p.role.Load(), p.manager.cfg.Broker().ReplicaLagTimeMax
	if !r.leading || r.alone {
		return c, false
	}
	hw := p.hw.Load()
	p.isr.Lock()
	defer p.isr.Unlock()
	if p.isr.inSync == nil {
		return c, false
	}
	isr, ok := p.isr.propose(hw, now, lag, p.manager.eligible)
	if !ok {
		return c, false
	}
	return p.isr.begin(p.key, r.epoch, isr), true
}

// settleISR takes in what Postgres said to a change.
func (p *Partition) settleISR(c metadata.ISRChange, o metadata.ISROutcome, refused bool, now time.Time) {
	p.isr.Lock()
	switch {
	case p.isr.inSync == nil || p.role.Load().epoch != c.LeaderEpoch:
	case o.Err == nil && o.Partition.LeaderEpoch == c.LeaderEpoch:
		p.isr.take(o.Partition, now)
		if p.isr.partitionEpoch == c.PartitionEpoch {
			p.isr.abandon() // it was so already
		}
	case refused:
		p.isr.abandon()
	}
	p.isr.Unlock()
	p.progress(now)
}

// watchers are told of every change that a follower's fetch may wait for: one per follower.
type watchers struct {
	count atomic.Int32
	mu    struct {
		sync.Mutex
		byBroker map[metadata.BrokerID]watcher
	}
}

type watcher struct {
	owner any
	tell  func()
}

// Watch has f called whenever records were appended or the leadership changed, for the follower on broker id, in place of an earlier owner's. f must not block,
// and may be called with the partition's mutex held.
func (p *Partition) Watch(id metadata.BrokerID, owner any, f func()) {
	w := &p.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.byBroker == nil {
		w.mu.byBroker = map[metadata.BrokerID]watcher{}
	}
	w.mu.byBroker[id] = watcher{owner, f}
	w.count.Store(int32(len(w.mu.byBroker)))
}

// Unwatch ends that, if it is still owner's.
func (p *Partition) Unwatch(id metadata.BrokerID, owner any) {
	w := &p.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.byBroker[id].owner == owner {
		delete(w.mu.byBroker, id)
	}
	w.count.Store(int32(len(w.mu.byBroker)))
}

func (w *watchers) tell() {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.mu.byBroker {
		x.tell()
	}
}

// eligible reports whether broker id may be in sync, as far as this broker knows: it is live, and registered as epoch.
func (m *Manager) eligible(id metadata.BrokerID, epoch metadata.BrokerEpoch) bool {
	im := m.image.Load()
	return im.Live(id) && im.Brokers[id].Epoch == epoch
}
