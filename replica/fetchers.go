package replica

import (
	"hash/fnv"

	"varve/metadata"
)

// follow has p copied from its leader in s's leader epoch, if there is one. REQUIRES: p.work.
func (m *Manager) follow(p *Partition, s *metadata.Partition) {
	if p.fetcher != nil || s.Leader == metadata.NoBroker || p.removed.Load() || m.cfg.Dialer == nil {
		return
	}
	p.fetcher = m.fetcherOf(p.key, s.Leader)
	p.fetcher.post(p.key, &following{p: p, epoch: s.LeaderEpoch})
}

// unfollow ends that. REQUIRES: p.work.
func (m *Manager) unfollow(p *Partition) {
	if p.fetcher != nil {
		p.fetcher.post(p.key, nil)
		p.fetcher = nil
	}
}

// fetcherOf returns the fetcher for a partition that follows leader; a fetcher lives as long as the manager.
func (m *Manager) fetcherOf(key metadata.TopicPartition, leader metadata.BrokerID) *fetcher {
	h := fnv.New32a()
	_, _ = h.Write(key.TopicID[:]) // never fails
	id := fetcherID{leader, int((h.Sum32() + uint32(key.Partition)) % uint32(max(m.cfg.Broker().NumReplicaFetchers, 1)))}
	m.fetchers.Lock()
	defer m.fetchers.Unlock()
	f := m.fetchers.byID[id]
	if f == nil {
		f = newFetcher(m, id)
		m.fetchers.byID[id] = f
		m.running.Go(f.run)
	}
	return f
}
