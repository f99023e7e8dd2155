package metadata

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func members(ids ...BrokerID) []ISRMember {
	var out []ISRMember
	for _, id := range ids {
		out = append(out, ISRMember{ID: id, Epoch: -1})
	}
	return out
}

// Each case but the first ones breaks two rules: the one whose error is wanted, and the next in the order of checks.
func TestAlterISR(t *testing.T) {
	led := part(ids{1, 2, 3}, ids{1, 2}, 1)
	rebuilt := part(ids{1, 2, 3}, ids{1}, 1)
	rebuilt.Recovery = Recovering
	for _, c := range []struct {
		name    string
		p       *Partition
		brokers string
		epochs  [2]int32 // leader's, partition's
		self    BrokerID
		isr     []ISRMember
		wantErr *kerr.Error
		want    ids
	}{
		{"expand", led, "live live live", [2]int32{5, 9}, 1, members(1, 2, 3), nil, ids{1, 2, 3}},
		{"shrink, of one that is fenced", led, "live fenced live", [2]int32{5, 9}, 1, members(1), nil, ids{1}},
		{"the same, in another order", led, "live fenced live", [2]int32{5, 9}, 1, members(2, 1), nil, ids{1, 2}},
		{"a member of the epoch given", led, "live live live", [2]int32{5, 9}, 1, []ISRMember{{1, -1}, {2, -1}, {3, 103}}, nil, ids{1, 2, 3}},
		{"no partition", nil, "live live live", [2]int32{6, 9}, 1, members(1), kerr.UnknownTopicOrPartition, nil},
		{"newer leader epoch", led, "live live live", [2]int32{6, 8}, 2, members(1), kerr.NotController, nil},
		{"newer partition epoch", led, "live live live", [2]int32{4, 10}, 2, members(1), kerr.NotController, nil},
		{"older leader epoch", led, "live live live", [2]int32{4, 9}, 2, members(1), kerr.FencedLeaderEpoch, nil},
		{"not the leader", led, "live live live", [2]int32{5, 8}, 2, members(2), kerr.InvalidRequest, nil},
		{"older partition epoch", led, "live live live", [2]int32{5, 8}, 1, members(), kerr.InvalidUpdateVersion, nil},
		{"empty", led, "live live live", [2]int32{5, 9}, 1, nil, kerr.InvalidRequest, nil},
		{"no replica", led, "live live live live", [2]int32{5, 9}, 1, members(1, 4), kerr.InvalidRequest, nil},
		{"named twice", led, "live live live", [2]int32{5, 9}, 1, members(1, 2, 2), kerr.InvalidRequest, nil},
		{"without the leader", led, "live live fenced", [2]int32{5, 9}, 1, members(2, 3), kerr.InvalidRequest, nil},
		{"rebuilding", rebuilt, "live fenced live", [2]int32{5, 9}, 1, members(1, 2), kerr.InvalidRequest, nil},
		{"fenced", led, "live live fenced", [2]int32{5, 9}, 1, members(1, 2, 3), kerr.IneligibleReplica, nil},
		{"shutting down", led, "live live shutdown", [2]int32{5, 9}, 1, members(1, 2, 3), kerr.IneligibleReplica, nil},
		{"unregistered", led, "live live absent", [2]int32{5, 9}, 1, members(1, 2, 3), kerr.IneligibleReplica, nil},
		{"of an earlier epoch", led, "live live live", [2]int32{5, 9}, 1, []ISRMember{{1, -1}, {2, -1}, {3, 102}}, kerr.IneligibleReplica, nil},
		{"the leader itself", led, "shutdown live live", [2]int32{5, 9}, 1, members(1), kerr.IneligibleReplica, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			brokers := cluster(c.brokers)
			for id, b := range brokers {
				b.Epoch = 100 + BrokerEpoch(id)
			}
			change := ISRChange{LeaderEpoch: c.epochs[0], PartitionEpoch: c.epochs[1], ISR: c.isr}
			got, err := AlterISR(c.p, change, c.self, brokers, 1)
			if c.wantErr != nil {
				if !errors.Is(err, c.wantErr) || got != nil {
					t.Errorf("%v, %v, want %v", got, err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			epoch := int32(10)
			if slices.Equal(c.want, c.p.ISR) {
				epoch = 9
			}
			if !slices.Equal(got.ISR, c.want) || got.PartitionEpoch != epoch || got.LeaderEpoch != 5 || (got == c.p) != (epoch == 9) {
				t.Errorf("%s, want isr %v, partition epoch %d", short(got), c.want, epoch)
			}
			if short(led) != "leader 1 isr [1 2] epochs 5 9 recovery 0" {
				t.Errorf("input modified: %s", short(led))
			}
		})
	}
}
