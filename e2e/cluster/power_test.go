//go:build e2e

package cluster

import (
	"testing"
	"time"

	"varve/internal/testcluster"
)

// TestPowerLoss cuts the power of one broker's machine, and of all at once: what their disks had not written is gone, and nothing that was acknowledged.
func TestPowerLoss(t *testing.T) {
	for name, all := range map[string]bool{"one": false, "all": true} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 3, testcluster.Disks())
			s.excused = "input/output error" // said by a broker that dies
			s.perform(func(int) {
				ids := []int{1 + s.random.IntN(3)}
				if all {
					ids = []int{1, 2, 3}
				}
				t.Logf("brokers %v lose their power", ids)
				for _, id := range ids { // a machine without power acknowledges nothing
					testcluster.Freeze(t, s.Broker(id).Pid())
				}
				for _, id := range ids {
					s.Disk(id).CutPower(t)
					s.Broker(id).Kill(t)
				}
				if !all {
					s.awaitAcks("a machine lost its power")
				}
				for _, id := range ids {
					s.Disk(id).ComeBack(t)
				}
				s.StartAll(t)
			})
			s.end()
		})
	}
}

// TestFlappingLinks cuts a broker off and lets it back, again and again, faster than anybody gives it up.
func TestFlappingLinks(t *testing.T) {
	s := begin(t, 3, testcluster.Proxies())
	s.perform(func(int) {
		id, led := s.aLeader()
		t.Logf("the links of broker %d, which leads %v, flap", id, led)
		s.history.Mark()
		for until := time.Now().Add(longForm(8*time.Second, time.Minute)); time.Now().Before(until); {
			s.cutPeers(id, []testcluster.Cut{testcluster.Refused, testcluster.Silent}[s.random.IntN(2)], s.random.IntN(2) == 0, s.random.IntN(2) == 0)
			s.pass(time.Duration(100+s.random.IntN(900)) * time.Millisecond)
			for other := range s.Brokers() {
				s.Listener(other + 1).Heal()
			}
			s.pass(time.Duration(100+s.random.IntN(900)) * time.Millisecond)
		}
		s.silences("flapping links", allPartitions())
	})
	s.end()
}
