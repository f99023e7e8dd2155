package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/metadata"
)

// state makes a cluster of brokers 1 to 3 with one topic of one partition; change spoils it.
func state(change func(s *clusterState, p *metadata.Partition)) clusterState {
	im := &metadata.Image{Version: 7, Controller: 1, Brokers: map[metadata.BrokerID]*metadata.Broker{}, Topics: map[metadata.TopicID]*metadata.Topic{}}
	p := &metadata.Partition{Leader: 1, Replicas: []metadata.BrokerID{1, 2, 3}, ISR: []metadata.BrokerID{1, 2, 3}}
	for id := metadata.BrokerID(1); id <= 3; id++ {
		dir := uuid.UUID{byte(id)}
		im.Brokers[id] = &metadata.Broker{ID: id, Host: "host", Port: 9092, Dirs: []metadata.DirID{dir}}
		p.Dirs = append(p.Dirs, dir)
	}
	t := &metadata.Topic{ID: uuid.UUID{9}, Name: "orders", Partitions: []*metadata.Partition{p}}
	im.Topics[t.ID] = t
	ended := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := clusterState{image: im, controllerLive: true, minISR: func(map[string]string) int { return 2 },
		sessions: map[metadata.BrokerID]time.Time{1: ended, 2: ended, 3: ended}}
	change(&s, p)
	return s
}

func TestJudge(t *testing.T) {
	ids := func(list ...metadata.BrokerID) []metadata.BrokerID { return list }
	for _, test := range []struct {
		name   string
		change func(s *clusterState, p *metadata.Partition)
		state  string   // of the partition; empty: nothing is wrong with it
		why    []string // what is said, in order
		counts [3]int   // leaderless, under min ISR, under-replicated
	}{
		{"healthy", func(*clusterState, *metadata.Partition) {}, "", nil, [3]int{}},
		{"a fenced follower", func(s *clusterState, p *metadata.Partition) {
			s.image.Brokers[2].Fenced, p.ISR = true, ids(1, 3)
		}, underReplicated, []string{"broker 2 is fenced since 2026-01-02T03:04:05Z: start it"}, [3]int{0, 0, 1}},
		{"a fenced follower whose session is not known", func(s *clusterState, p *metadata.Partition) {
			s.image.Brokers[2].Fenced, p.ISR, s.sessions = true, ids(1, 3), nil
		}, underReplicated, []string{"broker 2 is fenced: start it"}, [3]int{0, 0, 1}},
		{"a stopped follower and one that stops", func(s *clusterState, p *metadata.Partition) {
			s.image.Brokers[2].Fenced, s.image.Brokers[2].InShutdown, s.image.Brokers[3].InShutdown, p.ISR = true, true, true, ids(1)
		}, underMinISR, []string{"broker 2 is stopped since 2026-01-02T03:04:05Z: start it", "broker 3 is shutting down"}, [3]int{0, 1, 1}},
		{"a follower that was never there", func(s *clusterState, p *metadata.Partition) {
			delete(s.image.Brokers, 3)
			p.ISR = ids(1, 2)
		}, underReplicated, []string{"broker 3 is not registered: start it"}, [3]int{0, 0, 1}},
		{"a lost directory", func(s *clusterState, p *metadata.Partition) {
			s.image.Brokers[3].Dirs, p.ISR = []metadata.DirID{{8}}, ids(1, 2)
		}, underReplicated, []string{"log directory 03000000-0000-0000-0000-000000000000 of broker 3 is not online: repair its disk and restart the broker, or let it come back with an empty one"}, [3]int{0, 0, 1}},
		{"a slow follower", func(_ *clusterState, p *metadata.Partition) { p.ISR = ids(1, 2) },
			underReplicated, []string{"broker 3 is live and not in sync: it is catching up with broker 1, or cannot reach it (see its log)"}, [3]int{0, 0, 1}},
		{"no leader", func(s *clusterState, p *metadata.Partition) {
			s.image.Brokers[2].Fenced, p.ISR, p.Leader = true, ids(2), metadata.NoBroker
		}, leaderless, []string{"broker 2 is fenced since 2026-01-02T03:04:05Z: start it",
			"no in-sync replica is live: ISR [2]; if none comes back, elect uncleanly with kafka-leader-election --election-type unclean to rebuild from the bucket"}, [3]int{1, 1, 1}},
		{"a leader that is about to be", func(_ *clusterState, p *metadata.Partition) { p.Leader = metadata.NoBroker },
			leaderless, []string{"broker 1 can lead and is about to be elected; if it stays so, see the controller's log"}, [3]int{1, 0, 0}},
		{"rebuilding", func(_ *clusterState, p *metadata.Partition) { p.ISR, p.Recovery = ids(1), metadata.Recovering },
			underMinISR, []string{"broker 1 rebuilds the partition from the bucket after an unclean election",
				"broker 2 is live and not in sync: it is catching up with broker 1, or cannot reach it (see its log)",
				"broker 3 is live and not in sync: it is catching up with broker 1, or cannot reach it (see its log)"}, [3]int{0, 1, 1}},
		{"a reassignment under way is no fault", func(_ *clusterState, p *metadata.Partition) {
			p.Adding, p.Removing, p.ISR = ids(3), ids(1), ids(1, 2)
		}, "", nil, [3]int{}},
		{"one replica is enough for one", func(s *clusterState, p *metadata.Partition) {
			p.Replicas, p.ISR, p.Dirs = ids(1), ids(1), p.Dirs[:1]
		}, "", nil, [3]int{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judge(state(test.change))
			if have := [3]int{r.Leaderless, r.UnderMinISR, r.UnderReplicated}; have != test.counts {
				t.Errorf("leaderless, under min ISR, under-replicated %v, want %v", have, test.counts)
			}
			if r.Healthy != (test.state == "") {
				t.Errorf("healthy %v with %v", r.Healthy, r.Findings)
			}
			if test.state == "" {
				return
			}
			if len(r.Findings) != 1 || r.Findings[0].State != test.state || !slices.Equal(r.Findings[0].Why, test.why) {
				t.Errorf("findings %+v\nwant %s because %q", r.Findings, test.state, test.why)
			}
		})
	}
}

// TestJudgeController: without a controller the cluster is not healthy, whatever its partitions are.
func TestJudgeController(t *testing.T) {
	for name, change := range map[string]func(*clusterState, *metadata.Partition){
		"none":            func(s *clusterState, _ *metadata.Partition) { s.image.Controller = metadata.NoBroker },
		"an expired one":  func(s *clusterState, _ *metadata.Partition) { s.controllerLive = false },
		"(a healthy one)": func(*clusterState, *metadata.Partition) {},
	} {
		r := judge(state(change))
		if want := name == "(a healthy one)"; r.Healthy != want || (r.Controller != metadata.NoBroker) != want {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestPrintReport shows what people read, and that only the first partitions are explained unless all are asked for.
func TestPrintReport(t *testing.T) {
	r := judge(state(func(s *clusterState, p *metadata.Partition) {
		s.image.Brokers[2].Fenced, p.ISR = true, []metadata.BrokerID{1, 3}
		t := s.image.Topics[uuid.UUID{9}]
		for i := int32(1); i < 30; i++ {
			next := *p
			next.TopicPartition.Partition = i
			t.Partitions = append(t.Partitions, &next)
		}
	}))
	var some, all bytes.Buffer
	if err := printReport(&some, r, false); err != nil {
		t.Fatal(err)
	}
	if err := printReport(&all, r, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"controller: broker 1\n", "2       host:9092  -     0      30        fenced since 2026-01-02T03:04:05Z\n",
		"partitions: 30, leaderless 0, under min ISR 0, under-replicated 30, being reassigned 0\n",
		"orders-0 is under-replicated (leader 1, ISR [1 3] of [1 2 3]): broker 2 is fenced since 2026-01-02T03:04:05Z: start it\n",
		"and 10 more: --all explains them\nnot healthy\n"} {
		if !strings.Contains(some.String(), want) {
			t.Errorf("no %q in\n%s", want, some.String())
		}
	}
	if n := strings.Count(all.String(), "orders-"); n != 30 {
		t.Errorf("--all explains %d of 30", n)
	}
}
