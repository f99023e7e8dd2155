//go:build e2e

package cluster

import (
	"testing"
	"time"

	"varve/internal/testcluster"
)

// cutFor is how long a broker is cut off: more than its session.
const cutFor = 15 * time.Second

// TestPostgresCut cuts one broker off from Postgres: its connections end, or nothing comes through. It loses its leaderships and must not
// acknowledge what the next leader does not have.
func TestPostgresCut(t *testing.T) {
	for name, how := range map[string]testcluster.Cut{"refused": testcluster.Refused, "silent": testcluster.Silent} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 3, testcluster.Proxies())
			s.perform(func(int) {
				id, led := s.aLeader()
				t.Logf("broker %d is cut off from Postgres", id)
				s.history.Mark()
				s.Metadata(id).Cut(how)
				s.pass(cutFor)
				s.awaitAcks("a broker is cut off from Postgres")
				s.silences("cut off from Postgres, its partitions", led)
				s.Metadata(id).Heal()
			})
			s.end()
		})
	}
}

// TestPostgresDown stops Postgres for a while: producing and replicating go on all the time.
func TestPostgresDown(t *testing.T) {
	s := begin(t, 3)
	s.perform(func(int) {
		s.history.Mark()
		s.Postgres.Crash()
		s.pass(longForm(10*time.Second, time.Minute))
		for p, silence := range s.history.Silences() {
			if silence > 3*time.Second {
				t.Errorf("partition %d was not acknowledged for %v while Postgres was stopped", p, silence)
			}
		}
		s.Postgres.Start()
		s.pass(time.Second)
		s.silences("Postgres stopped", allPartitions())
	})
	s.end()
}

// TestPostgresCrash lets Postgres crash and recover in the middle of what the brokers write to it.
func TestPostgresCrash(t *testing.T) {
	// crash waits a little, by the seed, so that it hits another moment each time.
	crash := func(s *scene, within time.Duration) {
		moment := time.Duration(s.random.Int64N(int64(within)))
		s.t.Logf("Postgres crashes after %v", moment.Round(time.Millisecond))
		s.pass(moment)
		s.Postgres.Crash()
		s.Postgres.Start()
	}
	t.Run("election", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			id, _ := s.aLeader()
			s.Broker(id).Kill(t)
			crash(s, 300*time.Millisecond) // about when the others elect
			s.awaitAcks("a leader was killed and Postgres crashed")
			s.Broker(id).Start(t)
		})
		s.end()
	})
	t.Run("isr", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			id := 1 + s.random.IntN(3)
			s.Broker(id).Kill(t)
			s.awaitAcks("a broker was killed")
			s.Broker(id).Start(t)
			crash(s, 200*time.Millisecond) // while it joins the in-sync replicas again
		})
		s.end()
	})
	t.Run("registration", func(t *testing.T) {
		s := begin(t, 3)
		s.perform(func(int) {
			id := 1 + s.random.IntN(3)
			s.Broker(id).Kill(t)
			started := make(chan error, 1)
			go func() { started <- s.Broker(id).TryStart() }()
			crash(s, 200*time.Millisecond)
			// A broker that finds no Postgres at its start says so and ends: whoever runs it starts it again.
			if err := <-started; err != nil {
				t.Logf("as if by a supervisor: %v", err)
				s.Broker(id).Start(t)
			}
		})
		s.end()
	})
}
