//go:build e2e

package cluster

import (
	"testing"

	"varve/internal/testcluster"
)

// TestPeersCut cuts a broker off from the other brokers; clients and Postgres still reach all of them.
func TestPeersCut(t *testing.T) {
	for name, how := range map[string]testcluster.Cut{"refused": testcluster.Refused, "silent": testcluster.Silent} {
		// in: the others cannot connect to it, so nobody follows what it leads; out: it cannot connect to them.
		for direction, of := range map[string]struct{ in, out bool }{"in": {true, false}, "out": {false, true}, "both": {true, true}} {
			t.Run(direction+"-"+name, func(t *testing.T) {
				s := begin(t, 3, testcluster.Proxies())
				s.perform(func(int) {
					id, led := s.aLeader()
					t.Logf("broker %d, which leads %v, is cut off from the others", id, led)
					s.history.Mark()
					s.cutPeers(id, how, of.in, of.out)
					s.pass(cutFor)
					s.silences("cut off from its peers, its partitions", led)
					s.silences("cut off from its peers, all", allPartitions())
					for other := range s.Brokers() {
						s.Listener(other + 1).Heal()
					}
				})
				s.end()
			})
		}
	}
}

// cutPeers cuts the connections between broker id and the others, by who began them.
func (s *scene) cutPeers(id int, how testcluster.Cut, in, out bool) {
	var others []int
	for i, b := range s.Brokers() {
		if i+1 == id {
			continue
		}
		others = append(others, b.Pid())
		if out {
			s.Listener(i+1).Cut(how, s.Broker(id).Pid())
		}
	}
	if in {
		s.Listener(id).Cut(how, others...)
	}
}
