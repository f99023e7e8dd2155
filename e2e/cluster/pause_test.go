//go:build e2e

package cluster

import (
	"testing"
	"time"
)

// TestPause stops a broker by SIGSTOP and lets it go on: it wakes up believing what was so before.
func TestPause(t *testing.T) {
	// Longer than a session; the long form goes on for more than clients' and followers' time-outs.
	pauses := []time.Duration{5 * time.Second}
	if *long > 0 {
		pauses = append(pauses, 30*time.Second, 60*time.Second)
	}
	for name, choose := range map[string]func(s *scene) int{
		"leader":     func(s *scene) int { id, _ := s.aLeader(); return id },
		"controller": func(s *scene) int { return s.controller() },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 3)
			s.perform(func(round int) {
				id, pause := choose(s), pauses[round%len(pauses)]
				led := s.leaders()[id]
				s.history.Mark()
				s.Broker(id).Pause(t)
				s.pass(pause)
				s.Broker(id).Resume(t)
				s.awaitAcks("a broker was stopped for a while")
				s.silences("SIGSTOP of "+pause.String(), led)
			})
			s.end()
		})
	}
}
