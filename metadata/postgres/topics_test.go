package postgres_test

import (
	"maps"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

func TestCreateTopicsErrorsArePerTopic(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	if _, err := s.Register(t.Context(), newBroker(2).Registration); err != nil { // registered, fenced
		t.Fatal(err)
	}
	topic(t, s, "a.b", []metadata.BrokerID{1})
	on := func(replicas ...metadata.BrokerID) [][]metadata.BrokerID { return [][]metadata.BrokerID{replicas} }
	asked := []metadata.NewTopic{
		{Name: "zebra", Assignment: on(1), Configs: map[string]string{"retention.ms": "5", "x": ""}},
		{Name: "a.b", Assignment: on(1)},
		{Name: "a_b", Assignment: on(1)},
		{Name: "nowhere", Assignment: on(7)},
		{Name: "asleep", Assignment: on(2)},
		{Name: "half", Assignment: on(2, 1)},
		{Name: "nul", Assignment: on(1), Configs: map[string]string{"retention.ms": "\x00"}},
		{Name: "n\x00l", Assignment: on(1)},
		{Name: "twice", Assignment: on(1)},
		{Name: "twice", Assignment: on(1)},
	}
	want := []*kerr.Error{nil, kerr.TopicAlreadyExists, kerr.InvalidTopicException, kerr.InvalidReplicaAssignment,
		kerr.InvalidReplicaAssignment, nil, kerr.InvalidConfig, kerr.InvalidTopicException, nil, kerr.TopicAlreadyExists}
	before := snapshot(t, s)
	for _, validateOnly := range []bool{true, false} {
		got, err := s.CreateTopics(t.Context(), asked, validateOnly)
		if err != nil {
			t.Fatal(err)
		}
		for i := range asked {
			wantKafka(t, got[i].Err, want[i])
		}
		if validateOnly {
			if im := snapshot(t, s); im.Version != before.Version || len(im.Topics) != len(before.Topics) {
				t.Fatal("validation wrote something")
			}
		}
	}
	im := snapshot(t, s)
	if got := im.ByName["zebra"].Configs; !maps.Equal(got, asked[0].Configs) {
		t.Errorf("configs %v", got)
	}
	if p := im.ByName["half"].Partitions[0]; p.Leader != 1 || len(p.ISR) != 1 || len(p.Replicas) != 2 || p.Dirs[0] != uuid.Nil {
		t.Errorf("%+v", p)
	}
	if len(im.Topics) != 4 || im.Version != before.Version+1 {
		t.Errorf("%d topics, version %d after %d", len(im.Topics), im.Version, before.Version)
	}
}

func TestCreatorsRace(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	asked := []metadata.NewTopic{{Name: "a", Assignment: [][]metadata.BrokerID{{1}}}, {Name: "b", Assignment: [][]metadata.BrokerID{{1}}}}
	var mu sync.Mutex
	created := map[string]int{}
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			order := []metadata.NewTopic{asked[n%2], asked[1-n%2]}
			out, err := s.CreateTopics(t.Context(), order, false)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range out {
				if out[i].Err == nil {
					created[order[i].Name]++
				} else {
					wantKafka(t, out[i].Err, kerr.TopicAlreadyExists)
				}
			}
		})
	}
	wg.Wait()
	if created["a"] != 1 || created["b"] != 1 {
		t.Error(created)
	}
}

func TestAddPartitions(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	topic(t, s, "flights", []metadata.BrokerID{1})
	add := func(name string, from int, validateOnly bool, replicas ...metadata.BrokerID) error {
		return s.AddPartitions(t.Context(), name, [][]metadata.BrokerID{replicas}, from, validateOnly)
	}
	wantKafka(t, add("nothing", 1, false, 1), kerr.UnknownTopicOrPartition)
	wantKafka(t, add("n\x00l", 1, false, 1), kerr.UnknownTopicOrPartition)
	wantKafka(t, add("flights", 2, false, 1), kerr.InvalidPartitions)
	wantKafka(t, add("flights", 1, false, 1, 2), kerr.InvalidReplicaAssignment)
	wantKafka(t, add("flights", 1, false, 9), kerr.InvalidReplicaAssignment)
	wantKafka(t, add("flights", 1, true, 2), nil)
	wantKafka(t, add("flights", 1, false, 2), nil)
	wantKafka(t, add("flights", 1, false, 2), kerr.InvalidPartitions) // the second of two who saw one partition
	if ps := snapshot(t, s).ByName["flights"].Partitions; len(ps) != 2 || ps[1].Leader != 2 {
		t.Errorf("%+v", ps)
	}
}

func TestDeleteTopics(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	a, b := topic(t, s, "a", []metadata.BrokerID{1}), topic(t, s, "b", []metadata.BrokerID{1})
	tp := metadata.TopicPartition{TopicID: a}
	live := upload(t, s, tp, 0, 10)
	late := newSegment(tp, 10, 20)
	if err := s.AddIntent(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	errs, err := s.DeleteTopics(t.Context(), []metadata.TopicRef{{Name: "a"}, {ID: b}, {Name: "c"}, {ID: uuid.New()}, {Name: "n\x00l"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*kerr.Error{nil, nil, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.UnknownTopicOrPartition} {
		wantKafka(t, errs[i], want)
	}
	if im := snapshot(t, s); len(im.Topics) != 0 {
		t.Error(im.Topics)
	}
	// Its segments are doomed, and an upload on its way cannot be committed any more.
	wantKafka(t, s.CommitSegment(t.Context(), late), kerr.UnknownTopicOrPartition)
	doomed, err := s.SegmentsToDelete(t.Context(), 0, 0, 10)
	if err != nil || len(doomed) != 2 || doomed[0].ID != live.ID && doomed[1].ID != live.ID {
		t.Error(doomed, err)
	}
	if again := topic(t, s, "a", []metadata.BrokerID{1}); again == a {
		t.Error("the same id again")
	}
}

func TestAlterConfigs(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	topic(t, s, "flights", []metadata.BrokerID{1})
	set := func(name, value string) metadata.ConfigEdit { return metadata.ConfigEdit{Name: name, Value: &value} }
	flights := metadata.ConfigResource{Topic: "flights"}
	alter(t, s, flights, set("retention.ms", "1"), set("segment.bytes", "2"))
	alter(t, s, flights, set("retention.ms", "3"), metadata.ConfigEdit{Name: "segment.bytes"}, metadata.ConfigEdit{Name: "never.set"})
	alter(t, s, metadata.ConfigResource{Broker: metadata.NoBroker}, set("log.retention.ms", "4"))
	alter(t, s, metadata.ConfigResource{Broker: 1}, set("log.retention.ms", "5"))
	im := snapshot(t, s)
	if got := im.ByName["flights"].Configs; !maps.Equal(got, map[string]string{"retention.ms": "3"}) {
		t.Error(got)
	}
	if im.BrokerConfigs[metadata.NoBroker]["log.retention.ms"] != "4" || im.BrokerConfigs[1]["log.retention.ms"] != "5" {
		t.Error(im.BrokerConfigs)
	}
	if err := s.AlterConfigs(t.Context(), flights, []metadata.ConfigEdit{set("segment.ms", "6")}, true); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, s).ByName["flights"].Configs; !maps.Equal(got, map[string]string{"segment.ms": "6"}) {
		t.Error(got)
	}
	wantKafka(t, s.AlterConfigs(t.Context(), metadata.ConfigResource{Topic: "nothing"}, nil, false), kerr.UnknownTopicOrPartition)
	// All or none.
	err := s.AlterConfigs(t.Context(), flights, []metadata.ConfigEdit{set("segment.ms", "7"), set("retention.ms", "\xff")}, false)
	wantKafka(t, err, kerr.InvalidConfig)
	if got := snapshot(t, s).ByName["flights"].Configs["segment.ms"]; got != "6" {
		t.Error(got)
	}
}

func TestElectLeaders(t *testing.T) {
	s := open(t)
	b1 := newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	id := topic(t, s, "flights", []metadata.BrokerID{2, 1}, []metadata.BrokerID{1})
	p0, p1 := metadata.TopicPartition{TopicID: id}, metadata.TopicPartition{TopicID: id, Partition: 1}
	elect := func(kind metadata.ElectionType, tps []metadata.TopicPartition, want ...*kerr.Error) {
		t.Helper()
		errs, err := s.ElectLeaders(t.Context(), kind, tps)
		if err != nil || len(errs) != len(want) {
			t.Fatal(errs, err)
		}
		for i := range want {
			wantKafka(t, errs[i], want[i])
		}
	}
	nothing := metadata.TopicPartition{TopicID: id, Partition: 9}
	elect(metadata.ElectPreferred, nil, kerr.ElectionNotNeeded, kerr.ElectionNotNeeded)
	elect(metadata.ElectPreferred, []metadata.TopicPartition{p1, nothing, p1}, kerr.ElectionNotNeeded, kerr.UnknownTopicOrPartition, kerr.ElectionNotNeeded)
	elect(metadata.ElectionType(7), []metadata.TopicPartition{p0}, kerr.InvalidRequest)
	if err := s.Unregister(t.Context(), 1, b1.epoch); err != nil {
		t.Fatal(err)
	}
	elect(metadata.ElectUnclean, []metadata.TopicPartition{p0, p1}, kerr.ElectionNotNeeded, kerr.EligibleLeadersNotAvailable)
	elect(metadata.ElectPreferred, []metadata.TopicPartition{p1}, kerr.PreferredLeaderNotAvailable)
	b1.Incarnation = uuid.New()
	b1.join(t, s)
	elect(metadata.ElectPreferred, nil, kerr.ElectionNotNeeded, nil)
	if p := snapshot(t, s).Partition(p1); p.Leader != 1 || p.Recovery != metadata.Recovered {
		t.Errorf("%+v", p)
	}
}
