//go:build e2e

package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

// TestReassign moves every partition to other brokers of four while it is written and read, once undisturbed and once while a broker is
// killed in the middle.
func TestReassign(t *testing.T) {
	for _, name := range []string{"calm", "kill"} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 4)
			s.perform(func(int) {
				target := s.moveAll()
				if name == "kill" {
					s.pass(time.Duration(s.random.IntN(500)) * time.Millisecond)
					id := 1 + s.random.IntN(4)
					t.Logf("broker %d is killed", id)
					s.Broker(id).Kill(t)
					s.pass(time.Second)
					s.Broker(id).Start(t)
				}
				begun := time.Now()
				s.awaitMoved(target)
				t.Logf("moved %v later", time.Since(begun).Round(10*time.Millisecond))
			})
			s.end()
		})
	}
}

// moveAll asks for other replicas of each partition, by the seed.
func (s *scene) moveAll() map[int32][]int32 {
	s.t.Helper()
	target := map[int32][]int32{}
	var req kadm.AlterPartitionAssignmentsReq
	for p := range int32(partitions) {
		target[p] = []int32{1, 2, 3, 4}
		s.random.Shuffle(4, func(i, j int) { target[p][i], target[p][j] = target[p][j], target[p][i] })
		target[p] = target[p][:3]
		req.Assign(topic, p, target[p])
	}
	s.t.Logf("partitions move to %v", target)
	resp, err := kadm.NewClient(s.admin).AlterPartitionAssignments(s.t.Context(), req)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return target
}

// awaitMoved waits until every partition has exactly the replicas asked for, and no reassignment is listed.
func (s *scene) awaitMoved(target map[int32][]int32) {
	s.t.Helper()
	s.await(wait, func(p kmsg.MetadataResponseTopicPartition) error {
		if !slices.Equal(p.Replicas, target[p.Partition]) {
			return fmt.Errorf("%s-%d: replicas %v, ISR %v, want %v", topic, p.Partition, p.Replicas, p.ISR, target[p.Partition])
		}
		return nil
	})
	testcluster.Eventually(s.t, wait, func() error {
		listed, err := kadm.NewClient(s.admin).ListPartitionReassignments(s.t.Context(), nil)
		if err == nil && len(listed) > 0 {
			err = fmt.Errorf("still listed: %v", listed)
		}
		return err
	})
}
