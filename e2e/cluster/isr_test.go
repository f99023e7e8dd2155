//go:build e2e

package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

// answerTime is how long a produce request of the load may wait for its answer: one partition of it holds back the others' acknowledgements.
const answerTime = 5 * time.Second

// TestLastReplica goes down to one in-sync replica, which must not acknowledge alone, and back.
func TestLastReplica(t *testing.T) {
	s := begin(t, 3)
	s.perform(func(int) {
		last := 1 + s.random.IntN(3)
		var others []int
		for id := 1; id <= 3; id++ {
			if id != last {
				others = append(others, id)
				s.Broker(id).Kill(t)
			}
		}
		s.awaitInSync(last)
		s.pass(answerTime) // what had enough replicas may be acknowledged until then
		before := s.history.AckedCount()
		s.pass(2 * time.Second)
		if n := s.history.AckedCount() - before; n > 0 {
			t.Errorf("%d records were acknowledged by one replica, min.insync.replicas is 2", n)
		}
		for _, id := range others {
			s.Broker(id).Start(t)
		}
	})
	s.end()
}

// awaitInSync waits until broker id leads every partition and nobody else is in sync.
func (s *scene) awaitInSync(id int) {
	s.t.Helper()
	s.await(wait, func(p kmsg.MetadataResponseTopicPartition) error {
		if int(p.Leader) != id || !slices.Equal(p.ISR, []int32{int32(id)}) {
			return fmt.Errorf("%s-%d: leader %d, ISR %v", topic, p.Partition, p.Leader, p.ISR)
		}
		return nil
	})
}

// TestRollingRestart restarts one broker after the other, cleanly, each when all replicas are in sync again.
func TestRollingRestart(t *testing.T) {
	s := begin(t, 3)
	s.perform(func(int) {
		s.history.Mark()
		for id := 1; id <= 3; id++ {
			s.Broker(id).Stop(t)
			s.Broker(id).Start(t)
			s.awaitISR(3)
		}
		s.silences("rolling restart", allPartitions())
	})
	s.end()
}

// TestUnclean loses the only in-sync replica. Unless an unclean election is allowed, its partitions wait for it; if it is, others lead and
// what only the lost one had is gone, for all replicas alike.
func TestUnclean(t *testing.T) {
	for name, allowed := range map[string]string{"refused": "false", "allowed": "true"} {
		t.Run(name, func(t *testing.T) {
			s := stage(t, 3)
			s.createTopic(map[string]string{"unclean.leader.election.enable": allowed, "min.insync.replicas": "1"})
			s.startLoad("before")
			s.awaitAcks("before the fault")
			s.pass(warmUp)
			const last = 2
			s.Broker(1).Kill(t)
			s.Broker(3).Kill(t)
			s.awaitInSync(last)
			s.awaitAcks("with one replica")
			if err := s.load.Stop(wait); err != nil {
				t.Fatal(err)
			}
			s.read(s.reader)
			s.Broker(last).Kill(t)
			s.Broker(1).Start(t)
			s.Broker(3).Start(t)
			if allowed == "true" {
				s.uncleanlyLed(last)
			} else {
				s.stayLeaderless(5 * time.Second)
			}
			s.Broker(last).Start(t)
			s.startLoad("after")
			s.heal()
			s.end()
		})
	}
}

// stayLeaderless waits until no partition has a leader, and wants it to stay so.
func (s *scene) stayLeaderless(during time.Duration) {
	s.t.Helper()
	s.await(wait, func(p kmsg.MetadataResponseTopicPartition) error {
		if p.Leader >= 0 {
			return fmt.Errorf("%s-%d is led by %d", topic, p.Partition, p.Leader)
		}
		return nil
	})
	for deadline := time.Now().Add(during); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		for id, led := range s.leaders() {
			if id != -1 {
				s.t.Fatalf("broker %d leads %v without having been in sync", id, led)
			}
		}
	}
}

// uncleanlyLed waits until others lead, and forgets what only the lost replica had.
func (s *scene) uncleanlyLed(lost int32) {
	s.t.Helper()
	s.await(wait, func(p kmsg.MetadataResponseTopicPartition) error {
		if p.Leader < 0 || p.Leader == lost {
			return fmt.Errorf("%s-%d is led by %d", topic, p.Partition, p.Leader)
		}
		return nil
	})
	for p, end := range s.ends() {
		s.history.Forget(p, end)
	}
}

// ends are the partitions' end offsets.
func (s *scene) ends() map[int32]int64 {
	s.t.Helper()
	out := map[int32]int64{}
	testcluster.Eventually(s.t, wait, func() error {
		listed, err := listEnds(s)
		if err == nil {
			out = listed
		}
		return err
	})
	return out
}
