//go:build e2e

package cluster

import (
	"slices"
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
