package metadata

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

var (
	dirA = uuid.MustParse("aaaaaaaa-0000-0000-0000-000000000000")
	dirB = uuid.MustParse("bbbbbbbb-0000-0000-0000-000000000000")
	dirX = uuid.MustParse("ffffffff-0000-0000-0000-000000000000")
)

// cluster returns brokers 1.. from words: live, fenced, shutdown, absent. Each has directories A and B.
func cluster(states string) map[BrokerID]*Broker {
	brokers := map[BrokerID]*Broker{}
	for i, state := range strings.Fields(states) {
		id := BrokerID(i + 1)
		if state != "absent" {
			brokers[id] = &Broker{ID: id, Dirs: []DirID{dirA, dirB}, Fenced: state == "fenced", InShutdown: state == "shutdown"}
		}
	}
	return brokers
}

// part describes a partition in short: replicas, ISR, leader; all replicas on dirA unless lost names one on a lost disk.
func part(replicas, isr []BrokerID, leader BrokerID, lost ...BrokerID) *Partition {
	p := &Partition{Replicas: replicas, ISR: isr, Leader: leader, LeaderEpoch: 5, PartitionEpoch: 9}
	for _, r := range replicas {
		dir := dirA
		if slices.Contains(lost, r) {
			dir = dirX
		}
		p.Dirs = append(p.Dirs, dir)
	}
	return p
}

func short(p *Partition) string {
	return fmt.Sprintf("leader %d isr %v epochs %d %d recovery %d", p.Leader, p.ISR, p.LeaderEpoch, p.PartitionEpoch, p.Recovery)
}

type ids = []BrokerID

func TestElect(t *testing.T) {
	for _, c := range []struct {
		name    string
		brokers string
		p       *Partition
		prefer  Preference
		unclean bool
		want    string
	}{
		{"a valid leader stays", "live live", part(ids{2, 1}, ids{1, 2}, 1), KeepLeader, false, "leader 1 isr [1 2] epochs 5 9 recovery 0"},
		{"the preferred one takes over when asked", "live live", part(ids{2, 1}, ids{1, 2}, 1), PreferFirst, false, "leader 2 isr [1 2] epochs 6 10 recovery 0"},
		{"not when it is out of sync", "live live", part(ids{2, 1}, ids{1}, 1), PreferFirst, false, "leader 1 isr [1] epochs 5 9 recovery 0"},
		{"first valid in replica order", "fenced live live", part(ids{1, 3, 2}, ids{1, 2, 3}, 1), KeepLeader, false, "leader 3 isr [1 2 3] epochs 6 10 recovery 0"},
		{"shutting down is not valid", "shutdown live", part(ids{1, 2}, ids{1, 2}, 1), KeepLeader, false, "leader 2 isr [1 2] epochs 6 10 recovery 0"},
		{"unregistered is not valid", "absent live", part(ids{1, 2}, ids{1, 2}, 1), KeepLeader, false, "leader 2 isr [1 2] epochs 6 10 recovery 0"},
		{"none: the ISR waits", "fenced live", part(ids{1, 2}, ids{1}, 1), KeepLeader, false, "leader -1 isr [1] epochs 6 10 recovery 0"},
		{"none twice changes nothing", "fenced live", part(ids{1, 2}, ids{1}, -1), KeepLeader, false, "leader -1 isr [1] epochs 5 9 recovery 0"},
		{"the last member comes back", "live", part(ids{1}, ids{1}, -1), KeepLeader, false, "leader 1 isr [1] epochs 6 10 recovery 0"},
		{"unclean only without a clean one", "live live", part(ids{1, 2}, ids{2}, -1), KeepLeader, true, "leader 2 isr [2] epochs 6 10 recovery 0"},
		{"unclean: the first alive", "fenced live live", part(ids{1, 3, 2}, ids{1}, -1), KeepLeader, true, "leader 3 isr [3] epochs 6 10 recovery 1"},
		{"unclean: nobody alive", "fenced fenced", part(ids{1, 2}, ids{1}, -1), KeepLeader, true, "leader -1 isr [1] epochs 5 9 recovery 0"},
		{"a lost disk does not lead", "live", part(ids{1}, ids{1}, -1, 1), KeepLeader, false, "leader -1 isr [1] epochs 5 9 recovery 0"},
		{"a lost disk is replaced by an unclean election", "live", part(ids{1}, ids{1}, -1, 1), KeepLeader, true, "leader 1 isr [1] epochs 6 10 recovery 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := short(c.p)
			got := Elect(c.p, cluster(c.brokers), c.prefer, c.unclean)
			if short(got) != c.want {
				t.Errorf("got  %s\nwant %s", short(got), c.want)
			}
			if short(c.p) != before {
				t.Errorf("input modified: %s", short(c.p))
			}
			if (got == c.p) != (before == c.want) {
				t.Errorf("same pointer %v for %s -> %s", got == c.p, before, c.want)
			}
		})
	}
}

// An unclean election onto a new disk forgets the old directory: the broker assigns the new one.
func TestUncleanElectionClearsLostDirectory(t *testing.T) {
	p := part(ids{1, 2}, ids{1}, -1, 1)
	got := Elect(p, cluster("live fenced"), KeepLeader, true)
	if got.Dirs[0] != uuid.Nil || got.Dirs[1] != dirA || p.Dirs[0] != dirX {
		t.Errorf("dirs %v, input %v", got.Dirs, p.Dirs)
	}
}

func TestWithoutBroker(t *testing.T) {
	for _, c := range []struct {
		name    string
		brokers string
		p       *Partition
		want    string
	}{
		{"a follower leaves the ISR", "live fenced", part(ids{1, 2}, ids{1, 2}, 1), "leader 1 isr [1] epochs 5 10 recovery 0"},
		{"a leader leaves and another leads, in one step", "live fenced", part(ids{2, 1}, ids{1, 2}, 2), "leader 1 isr [1] epochs 6 10 recovery 0"},
		{"the last one stays in the ISR", "live fenced", part(ids{2, 1}, ids{2}, 2), "leader -1 isr [2] epochs 6 10 recovery 0"},
		{"all others are dead too", "fenced fenced", part(ids{2, 1}, ids{1, 2}, 2), "leader -1 isr [1 2] epochs 6 10 recovery 0"},
		{"a replica out of sync changes nothing", "live fenced", part(ids{1, 2}, ids{1}, 1), "leader 1 isr [1] epochs 5 9 recovery 0"},
		{"a new disk leaves the ISR", "live live", part(ids{2, 1}, ids{1, 2}, 2, 2), "leader 1 isr [1] epochs 6 10 recovery 0"},
		{"a new disk of the last one", "live live", part(ids{2, 1}, ids{2}, 2, 2), "leader -1 isr [2] epochs 6 10 recovery 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := short(WithoutBroker(c.p, 2, cluster(c.brokers))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
