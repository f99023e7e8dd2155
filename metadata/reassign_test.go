package metadata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// moving is a partition in the midst of a reassignment.
func moving(replicas, isr, adding, removing []BrokerID, leader BrokerID) *Partition {
	p := part(replicas, isr, leader)
	p.Adding, p.Removing = adding, removing
	return p
}

func moves(p *Partition) string {
	return fmt.Sprintf("%v adding %v removing %v isr %v leader %d epochs %d %d", p.Replicas, p.Adding, p.Removing, p.ISR, p.Leader, p.LeaderEpoch, p.PartitionEpoch)
}

func TestStartReassignment(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      *Partition
		target ids
		want   string
	}{
		{"one more replica", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 2, 3}, "[1 2 3] adding [3] removing [] isr [1 2] leader 1 epochs 5 10"},
		{"another broker", part(ids{1, 2}, ids{1, 2}, 1), ids{3, 2}, "[3 2 1] adding [3] removing [1] isr [1 2] leader 1 epochs 5 10"},
		{"all others", part(ids{1, 2}, ids{1, 2}, 1), ids{4, 3}, "[4 3 1 2] adding [4 3] removing [1 2] isr [1 2] leader 1 epochs 5 10"},
		{"another order is done at once", part(ids{1, 2}, ids{1, 2}, 1), ids{2, 1}, "[2 1] adding [] removing [] isr [1 2] leader 1 epochs 5 10"},
		{"another order, although one is out of sync", part(ids{1, 2}, ids{1}, 1), ids{2, 1}, "[2 1] adding [] removing [] isr [1] leader 1 epochs 5 10"},
		{"the same changes nothing", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 2}, "[1 2] adding [] removing [] isr [1 2] leader 1 epochs 5 9"},
		{"fewer is done at once, and fences the one that went", part(ids{1, 2, 3}, ids{3, 1, 2}, 1), ids{2, 1}, "[2 1] adding [] removing [] isr [1 2] leader 1 epochs 6 10"},
		{"fewer, and the leader goes: the caller elects", part(ids{1, 2}, ids{1, 2}, 1), ids{2}, "[2] adding [] removing [] isr [2] leader 1 epochs 6 10"},
		{"fewer waits for the one that stays", part(ids{1, 2}, ids{1}, 1), ids{2}, "[2 1] adding [] removing [1] isr [1] leader 1 epochs 5 10"},
		{"under way: the same again", moving(ids{1, 2, 3}, ids{1, 2}, ids{3}, nil, 1), ids{1, 2, 3}, "[1 2 3] adding [3] removing [] isr [1 2] leader 1 epochs 5 9"},
		{"under way: the same again, and all are in sync", moving(ids{1, 2, 3}, ids{1, 2, 3}, ids{3}, nil, 1), ids{1, 2, 3}, "[1 2 3] adding [] removing [] isr [1 2 3] leader 1 epochs 5 10"},
		{"under way: another target", moving(ids{1, 2, 3}, ids{1, 2}, ids{3}, nil, 1), ids{1, 4}, "[1 4 2 3] adding [4 3] removing [2 3] isr [1 2] leader 1 epochs 5 10"},
		{"under way: one that was to go stays", moving(ids{3, 2, 1}, ids{1, 2}, ids{3}, ids{1}, 1), ids{3, 1}, "[3 1 2] adding [3] removing [2] isr [1 2] leader 1 epochs 5 10"},
		{"under way: back to where it was", moving(ids{3, 1, 2}, ids{1, 2}, ids{3}, ids{1, 2}, 1), ids{2, 1}, "[2 1] adding [] removing [] isr [1 2] leader 1 epochs 6 10"},
		{"under way: less of it, and that is in sync", moving(ids{1, 2, 3, 4}, ids{1, 2, 3}, ids{3, 4}, nil, 1), ids{1, 3}, "[1 3] adding [] removing [] isr [1 3] leader 1 epochs 6 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := moves(c.p)
			got, err := StartReassignment(c.p, c.target)
			if err != nil || moves(got) != c.want {
				t.Fatalf("%v, got\n%s, want\n%s", err, moves(got), c.want)
			}
			if moves(c.p) != before || (got == c.p) != (before == c.want) {
				t.Errorf("input is now %s", moves(c.p))
			}
		})
	}
	for _, target := range []ids{{}, nil, {1, 2, 1}} {
		if _, err := StartReassignment(part(ids{1, 2}, ids{1}, 1), target); kafkaError(err) != kerr.InvalidReplicaAssignment {
			t.Errorf("target %v: %v", target, err)
		}
	}
}

// kafkaError is the Kafka error in err, err itself when there is none.
func kafkaError(err error) error {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k
	}
	return err
}

func TestCancelReassignment(t *testing.T) {
	for _, c := range []struct {
		name string
		p    *Partition
		want string
	}{
		{"what was added leaves", moving(ids{1, 2, 3}, ids{1, 2}, ids{3}, nil, 1), "[1 2] adding [] removing [] isr [1 2] leader 1 epochs 6 10"},
		{"also from the ISR", moving(ids{3, 4, 1, 2}, ids{1, 3}, ids{3, 4}, ids{1, 2}, 1), "[1 2] adding [] removing [] isr [1] leader 1 epochs 6 10"},
		{"it led: the caller elects", moving(ids{3, 1, 2}, ids{2, 3}, ids{3}, ids{1}, 3), "[1 2] adding [] removing [] isr [2] leader 3 epochs 6 10"},
		{"nothing was added: nobody is fenced", moving(ids{2, 1}, ids{1}, nil, ids{1}, 1), "[2 1] adding [] removing [] isr [1] leader 1 epochs 5 10"},
		{"after two in a row, what was before both", moving(ids{1, 4, 2, 3}, ids{1, 2}, ids{4, 3}, ids{2, 3}, 1), "[1 2] adding [] removing [] isr [1 2] leader 1 epochs 6 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := moves(c.p)
			got, err := CancelReassignment(c.p)
			if err != nil || moves(got) != c.want || moves(c.p) != before {
				t.Errorf("%v, got\n%s, want\n%s", err, moves(got), c.want)
			}
		})
	}
	if _, err := CancelReassignment(part(ids{1, 2}, ids{1}, 1)); kafkaError(err) != kerr.NoReassignmentInProgress {
		t.Error(err)
	}
	if _, err := CancelReassignment(moving(ids{3, 1}, ids{3}, ids{3}, ids{1}, 3)); kafkaError(err) != kerr.InvalidReplicaAssignment {
		t.Errorf("only an added one is in sync: %v", err)
	}
}

func TestFinishReassignment(t *testing.T) {
	for _, c := range []struct {
		name    string
		brokers string
		p       *Partition
		want    string
	}{
		{"none", "live live", part(ids{1, 2}, ids{1, 2}, 1), ""},
		{"added ones are not in sync", "live live live", moving(ids{1, 2, 3}, ids{1, 2}, ids{3}, nil, 1), ""},
		{"one that stays is not in sync", "live live live", moving(ids{3, 2, 1}, ids{1, 3}, ids{3}, ids{1}, 1), ""},
		{"nobody who stays is in sync", "live live live", moving(ids{3, 1}, ids{1}, ids{3}, ids{1}, 1), ""},
		{"nobody would stay", "live", moving(ids{1}, ids{1}, nil, ids{1}, 1), ""},
		{"only added: nobody is fenced", "live live live", moving(ids{1, 2, 3}, ids{1, 2, 3}, ids{3}, nil, 1), "[1 2 3] adding [] removing [] isr [1 2 3] leader 1 epochs 5 10"},
		{"a follower goes", "live live live", moving(ids{1, 3, 2}, ids{1, 2, 3}, ids{3}, ids{2}, 1), "[1 3] adding [] removing [] isr [1 3] leader 1 epochs 6 10"},
		{"one that went was out of sync", "live fenced live", moving(ids{1, 3, 2}, ids{1, 3}, ids{3}, ids{2}, 1), "[1 3] adding [] removing [] isr [1 3] leader 1 epochs 6 10"},
		{"the leader goes, and both epochs grow by one", "live live live", moving(ids{3, 2, 1}, ids{1, 2, 3}, ids{3}, ids{1}, 1), "[3 2] adding [] removing [] isr [2 3] leader 3 epochs 6 10"},
		{"the leader goes, and the first cannot lead", "live live fenced", moving(ids{3, 2, 1}, ids{1, 2, 3}, ids{3}, ids{1}, 1), "[3 2] adding [] removing [] isr [2 3] leader 2 epochs 6 10"},
		{"nobody can lead", "live live fenced", moving(ids{3, 1}, ids{1, 3}, ids{3}, ids{1}, 1), "[3] adding [] removing [] isr [3] leader -1 epochs 6 10"},
		{"added and removed by two in a row", "live live live", moving(ids{1, 2, 3}, ids{1, 2}, ids{3}, ids{3}, 1), "[1 2] adding [] removing [] isr [1 2] leader 1 epochs 6 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := moves(c.p)
			got := FinishReassignment(c.p, c.p, cluster(c.brokers), 1)
			if c.want == "" {
				if got != c.p {
					t.Errorf("got %s", moves(got))
				}
				return
			}
			if moves(got) != c.want || moves(c.p) != before {
				t.Errorf("got\n%s, want\n%s", moves(got), c.want)
			}
		})
	}
}

// What follows the replicas follows them: directories stay with their replica, and a replica that went is in no other list.
func TestReassignmentKeepsTheListsTogether(t *testing.T) {
	p := part(ids{1, 2, 3}, ids{1, 2}, 1)
	p.Dirs = []DirID{dirA, dirB, dirX}
	p.ELR, p.LastKnownELR = ids{3}, ids{3}
	started, err := StartReassignment(p, ids{4, 2, 1})
	if err != nil || !slices.Equal(started.Dirs, []DirID{uuid.Nil, dirB, dirA, dirX}) || !slices.Equal(started.ELR, ids{3}) {
		t.Fatalf("%+v, %v", started, err)
	}
	if back, err := CancelReassignment(started); err != nil || !slices.Equal(back.Dirs, []DirID{dirB, dirA, dirX}) || len(back.ELR) != 1 {
		t.Errorf("%+v, %v", back, err)
	}
	started.ISR = ids{1, 2, 4}
	done := CompleteReassignment(started)
	if !slices.Equal(done.Dirs, []DirID{uuid.Nil, dirB, dirA}) || len(done.ELR)+len(done.LastKnownELR) > 0 {
		t.Errorf("%+v", done)
	}
}

func TestReassignChecks(t *testing.T) {
	brokers := cluster("live live live fenced")
	under := moving(ids{3, 1, 2}, ids{1, 2}, ids{3}, ids{2}, 1)
	for _, c := range []struct {
		name   string
		p      *Partition
		target ids
		factor bool
		want   error
	}{
		{"unregistered", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 9}, true, kerr.InvalidReplicaAssignment},
		{"fenced ones may catch up later", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 4}, true, nil},
		{"empty", part(ids{1, 2}, ids{1, 2}, 1), ids{}, false, kerr.InvalidReplicaAssignment},
		{"twice", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 1}, true, kerr.InvalidReplicaAssignment},
		{"more", part(ids{1, 2}, ids{1, 2}, 1), ids{1, 2, 3}, false, kerr.InvalidReplicationFactor},
		{"fewer", part(ids{1, 2}, ids{1, 2}, 1), ids{1}, false, kerr.InvalidReplicationFactor},
		{"fewer, allowed", part(ids{1, 2}, ids{1, 2}, 1), ids{1}, true, nil},
		{"as many as the reassignment under way leads to", under, ids{1, 2}, false, nil},
		{"as many as there are meanwhile", under, ids{1, 2, 3}, false, kerr.InvalidReplicationFactor},
		{"cancel", under, nil, false, nil},
		{"cancel none", part(ids{1, 2}, ids{1, 2}, 1), nil, false, kerr.NoReassignmentInProgress},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Reassign(c.p, ReassignmentChange{Target: c.target}, brokers, c.factor, 1); kafkaError(err) != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// Whatever is asked in whatever order: the lists agree with each other, no replica in sync is lost but by leaving, epochs grow with each
// change, and cancelling goes back to the replicas before the first of several reassignments.
func TestReassignmentsAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	brokers := cluster("live live live live live")
	pick := func() ids {
		all := ids{1, 2, 3, 4, 5}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:1+r.IntN(3)]
	}
	for range 2000 {
		replicas := pick()
		p := part(replicas, slices.Clone(replicas[:1+r.IntN(len(replicas))]), replicas[0])
		before := slices.Sorted(slices.Values(p.Replicas))
		for range 6 {
			last := p
			switch r.IntN(3) {
			case 0: // the ISR changes
				next := *p
				if out := minus(p.Replicas, p.ISR); len(out) > 0 {
					next.ISR = append(slices.Clone(p.ISR), out[r.IntN(len(out))])
				}
				next.PartitionEpoch++
				p = FinishReassignment(p, &next, brokers, 1)
			case 1:
				p, _ = Reassign(p, ReassignmentChange{Target: pick()}, brokers, true, 1)
			default:
				if next, err := Reassign(p, ReassignmentChange{}, brokers, true, 1); err == nil {
					p = next
					if got := slices.Sorted(slices.Values(p.Replicas)); !slices.Equal(got, before) {
						t.Fatalf("cancelled to %v, it was %v", got, before)
					}
				}
			}
			checkMoves(t, last, p)
			if !p.Reassigning() {
				before = slices.Sorted(slices.Values(p.Replicas))
			}
		}
	}
}

func checkMoves(t *testing.T, last, p *Partition) {
	t.Helper()
	switch {
	case len(p.Dirs) != len(p.Replicas), len(p.ISR) == 0, len(p.Replicas) == 0,
		len(minus(p.ISR, p.Replicas)) > 0, len(minus(p.Adding, p.Replicas)) > 0, len(minus(p.Removing, p.Replicas)) > 0,
		len(minus(p.Replicas, p.Removing)) == 0, len(minus(p.Replicas, p.Adding)) == 0,
		!slices.Contains(p.ISR, p.Leader),
		p != last && p.PartitionEpoch <= last.PartitionEpoch, p.LeaderEpoch < last.LeaderEpoch,
		(p.Leader != last.Leader || len(minus(last.Replicas, p.Replicas)) > 0) && p.LeaderEpoch == last.LeaderEpoch:
		t.Fatalf("from %s\nto   %s", moves(last), moves(p))
	}
}
