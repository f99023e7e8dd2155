//go:build e2e

package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKill ends brokers by SIGKILL, and starts them again when the others go on without them.
func TestKill(t *testing.T) {
	t.Run("leader", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			id, led := s.aLeader()
			s.killOne(id, led)
		})
		s.end()
	})
	t.Run("ahead", func(t *testing.T) {
		// The followers stand still, so the leader is ahead of them when it dies: it must not have acknowledged that, and throws it away
		// when it comes back.
		s := begin(t, 3)
		s.perform(func(int) {
			id, led := s.aLeader()
			others := slices.DeleteFunc([]int{1, 2, 3}, func(other int) bool { return other == id })
			s.history.Mark()
			for _, other := range others {
				s.Broker(other).Pause(t)
			}
			s.pass(time.Second)
			s.Broker(id).Kill(t)
			for _, other := range others {
				s.Broker(other).Resume(t)
			}
			s.awaitAcks("a leader was killed that was ahead")
			s.silences("kill -9 of a leader a second ahead", led)
			s.Broker(id).Start(t)
		})
		s.end()
		truncated := 0
		for _, b := range s.Brokers() {
			truncated += strings.Count(b.LogText(t), "truncated to the leader's history")
		}
		if truncated == 0 {
			t.Error("no replica had to throw anything away: the leader was not ahead")
		}
	})
	t.Run("follower", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			// A broker follows the partitions of the others.
			id := 1 + s.random.IntN(3)
			led := s.leaders()[id]
			followed := slices.DeleteFunc(allPartitions(), func(p int32) bool { return slices.Contains(led, p) })
			s.killOne(id, followed)
		})
		s.end()
	})
	t.Run("controller", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			id := s.controller()
			s.killOne(id, s.leaders()[id])
		})
		s.end()
	})
	t.Run("all", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			s.history.Mark()
			s.KillAll(t)
			s.StartAll(t)
			s.awaitAcks("all brokers were killed")
			s.silences("kill -9 of all brokers", allPartitions())
		})
		s.end()
	})
}

// killOne kills a broker, waits until every partition acknowledges without it, and starts it again.
func (s *scene) killOne(id int, watched []int32) {
	s.t.Helper()
	s.history.Mark()
	s.Broker(id).Kill(s.t)
	s.awaitAcks("a broker was killed")
	s.silences("kill -9", watched)
	s.pass(longForm(0, 2*time.Second))
	s.Broker(id).Start(s.t)
}
