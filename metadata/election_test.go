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
		{"shutting down, it leads on where nobody else can", "shutdown fenced", part(ids{1, 2}, ids{1, 2}, 1), KeepLeader, true, "leader 1 isr [1 2] epochs 5 9 recovery 0"},
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
			got := Elect(c.p, cluster(c.brokers), c.prefer, c.unclean, 1)
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
	got := Elect(p, cluster("live fenced"), KeepLeader, true, 1)
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
		{"shutting down, the last one leads on", "live shutdown", part(ids{2, 1}, ids{2}, 2), "leader 2 isr [2] epochs 5 9 recovery 0"},
		{"all others are dead too", "fenced fenced", part(ids{2, 1}, ids{1, 2}, 2), "leader -1 isr [1 2] epochs 6 10 recovery 0"},
		{"a replica out of sync changes nothing", "live fenced", part(ids{1, 2}, ids{1}, 1), "leader 1 isr [1] epochs 5 9 recovery 0"},
		{"a new disk leaves the ISR", "live live", part(ids{2, 1}, ids{1, 2}, 2, 2), "leader 1 isr [1] epochs 6 10 recovery 0"},
		{"a new disk of the last one", "live live", part(ids{2, 1}, ids{2}, 2, 2), "leader -1 isr [2] epochs 6 10 recovery 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := short(WithoutBroker(c.p, 2, cluster(c.brokers), 1, false)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// elrPart is a partition with replicas 1, 2, 3, led by leader.
func elrPart(isr, elr ids, leader BrokerID) *Partition {
	p := part(ids{1, 2, 3}, isr, leader)
	p.ELR = elr
	return p
}

func shortELR(p *Partition) string {
	return fmt.Sprintf("leader %d isr %v elr %v last %v epochs %d %d recovery %d", p.Leader, p.ISR, p.ELR, p.LastKnownELR, p.LeaderEpoch, p.PartitionEpoch, p.Recovery)
}

// Eligible leader replicas with min.insync.replicas 2.
func TestELR(t *testing.T) {
	elect := func(p *Partition, brokers map[BrokerID]*Broker, unclean bool) *Partition {
		return Elect(p, brokers, KeepLeader, unclean, 2)
	}
	withoutTwo := func(p *Partition, brokers map[BrokerID]*Broker, unclean bool) *Partition {
		return WithoutBroker(p, 2, brokers, 2, unclean)
	}
	shrinkTo := func(isr ...BrokerID) func(*Partition, map[BrokerID]*Broker, bool) *Partition {
		return func(p *Partition, brokers map[BrokerID]*Broker, _ bool) *Partition {
			next, err := AlterISR(p, ISRChange{LeaderEpoch: 5, PartitionEpoch: 9, ISR: members(isr...)}, p.Leader, brokers, 2)
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
	}
	lost := elrPart(ids{1}, ids{2}, 1)
	lost.Dirs[1] = dirX
	known := elrPart(ids{1}, nil, NoBroker)
	known.LastKnownELR = ids{3}
	for _, c := range []struct {
		name    string
		do      func(*Partition, map[BrokerID]*Broker, bool) *Partition
		brokers string
		p       *Partition
		unclean bool
		want    string
	}{
		{"enough are in sync: nobody is eligible beside", withoutTwo, "live fenced live", elrPart(ids{1, 2, 3}, nil, 1), false, "leader 1 isr [1 3] elr [] last [] epochs 5 10 recovery 0"},
		{"too few: who leaves is eligible", withoutTwo, "live fenced fenced", elrPart(ids{1, 2}, nil, 2), false, "leader 1 isr [1] elr [2] last [] epochs 6 10 recovery 0"},
		{"not after an unclean end", withoutTwo, "live fenced fenced", elrPart(ids{1, 2}, nil, 2), true, "leader 1 isr [1] elr [] last [] epochs 6 10 recovery 0"},
		{"an unclean end ends it", withoutTwo, "live fenced fenced", elrPart(ids{1}, ids{2, 3}, 1), true, "leader 1 isr [1] elr [3] last [] epochs 5 10 recovery 0"},
		{"a clean one does not", withoutTwo, "live fenced fenced", elrPart(ids{1}, ids{2, 3}, 1), false, "leader 1 isr [1] elr [2 3] last [] epochs 5 9 recovery 0"},
		{"nor does a lost disk keep it", withoutTwo, "live fenced fenced", lost, false, "leader 1 isr [1] elr [] last [] epochs 5 10 recovery 0"},
		{"the last member dies: an eligible one leads, cleanly", withoutTwo, "fenced fenced live", elrPart(ids{2}, ids{1, 3}, 2), false, "leader 3 isr [3] elr [1 2] last [] epochs 6 10 recovery 0"},
		{"uncleanly: it is not eligible then", withoutTwo, "fenced fenced live", elrPart(ids{2}, ids{1, 3}, 2), true, "leader 3 isr [3] elr [1] last [] epochs 6 10 recovery 0"},
		{"nobody is eligible and alive: it waits, and is known", withoutTwo, "fenced fenced live", elrPart(ids{2}, ids{1}, 2), false, "leader -1 isr [2] elr [1] last [2] epochs 6 10 recovery 0"},
		{"an eligible one comes back", elect, "live fenced fenced", elrPart(ids{2}, ids{1}, NoBroker), false, "leader 1 isr [1] elr [2] last [] epochs 6 10 recovery 0"},
		{"the ISR goes first", elect, "live live fenced", elrPart(ids{2}, ids{1}, NoBroker), false, "leader 2 isr [2] elr [1] last [] epochs 6 10 recovery 0"},
		{"clean goes before unclean", elect, "live fenced live", elrPart(ids{2}, ids{3}, NoBroker), true, "leader 3 isr [3] elr [2] last [] epochs 6 10 recovery 0"},
		{"unclean clears", elect, "live fenced fenced", elrPart(ids{2}, ids{3}, NoBroker), true, "leader 1 isr [1] elr [] last [] epochs 6 10 recovery 1"},
		{"unclean: the last known leader", elect, "fenced live live", known, true, "leader 3 isr [3] elr [] last [] epochs 6 10 recovery 1"},
		{"a leader shrinks", shrinkTo(1), "live live live", elrPart(ids{1, 2}, ids{3}, 1), false, "leader 1 isr [1] elr [2 3] last [] epochs 5 10 recovery 0"},
		{"a leader expands", shrinkTo(1, 2), "live live live", elrPart(ids{1}, ids{3}, 1), false, "leader 1 isr [1 2] elr [] last [] epochs 5 10 recovery 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := shortELR(c.p)
			if got := shortELR(c.do(c.p, cluster(c.brokers), c.unclean)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if after := shortELR(c.p); after != before {
				t.Errorf("input modified: %s", after)
			}
		})
	}
}

// An unclean election prefers a replica that has its log to one on a new disk.
func TestUncleanElectionPrefersLogs(t *testing.T) {
	p := part(ids{1, 2, 3}, ids{3}, NoBroker, 1)
	if got := Elect(p, cluster("live live fenced"), KeepLeader, true, 1); got.Leader != 2 {
		t.Error(short(got))
	}
}
