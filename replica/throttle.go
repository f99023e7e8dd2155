package replica

import (
	"math"
	"slices"
	"sync"
	"time"

	"varve/metadata"
)

// A quota bounds the bytes per second of throttled replication: leader.replication.throttled.rate and its follower's side, for the replicas that the topic names
// and that are not in sync. What has passed has to be paid for in time before more may. The zero value owes nothing.
type quota struct {
	mu struct {
		sync.Mutex
		paid time.Time // when all that passed is paid for
	}
}

// pass notes that n bytes passed, and returns how long nothing more may.
func (q *quota) pass(n int, perSecond int64, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.paid.Before(now) {
		q.mu.paid = now
	}
	if perSecond > 0 && perSecond < math.MaxInt64 {
		q.mu.paid = q.mu.paid.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
	}
	return q.mu.paid.Sub(now)
}

// owed returns how long nothing may pass.
func (q *quota) owed(now time.Time) time.Duration { return q.pass(0, 1, now) }

// LeaderOwes returns how long this leader has to wait before it sends records to the replica on broker id, which a reassignment throttles; 0: it need not.
func (p *Partition) LeaderOwes(id metadata.BrokerID, now time.Time) time.Duration {
	if !p.throttledFor(id) {
		return 0
	}
	return p.manager.leaderQuota.owed(now)
}

// LeaderSent notes that n bytes were sent to the replica on broker id.
func (p *Partition) LeaderSent(id metadata.BrokerID, n int, now time.Time) {
	if p.throttledFor(id) {
		p.manager.leaderQuota.pass(n, p.manager.cfg.Broker().LeaderThrottledRate, now)
	}
}

func (p *Partition) throttledFor(id metadata.BrokerID) bool {
	if t := p.cfg.Load().LeaderThrottled; t == "" || !t.Has(p.key.Partition, int32(p.manager.cfg.Self)) {
		return false
	}
	p.isr.Lock()
	defer p.isr.Unlock()
	return p.isr.inSync != nil && !slices.Contains(p.isr.committed, id)
}

// followerOwes notes that n bytes came from the leader, and returns how long this follower has to wait before it asks for more; 0: it need not.
func (p *Partition) followerOwes(n int, now time.Time) time.Duration {
	m := p.manager
	if t := p.cfg.Load().FollowerThrottled; t == "" || !t.Has(p.key.Partition, int32(m.cfg.Self)) || slices.Contains(p.want.Load().state.ISR, m.cfg.Self) {
		return 0
	}
	return m.followerQuota.pass(n, m.cfg.Broker().FollowerThrottledRate, now)
}
