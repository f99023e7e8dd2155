package postgres_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/metadata/postgres"
)

// Clients choose these bytes.
const awkward = "g\x00\xff'; DROP TABLE grp; --"

func shardOwner(t *testing.T, s *postgres.Store) (epoch int32) {
	t.Helper()
	pass(t, s, acquire(t, s, 1, time.Minute))
	return snapshot(t, s).GroupShards[3].Epoch
}

func TestGroups(t *testing.T) {
	s := open(t)
	led(t, s)
	epoch := shardOwner(t, s)
	instance := "i\x00\xfe"
	g := metadata.GroupState{
		GroupID: awkward, Shard: 3, Generation: 7, ProtocolType: "consumer", Protocol: "range", Leader: "m\xff",
		Members: []metadata.GroupMember{
			{MemberID: "m\xff", InstanceID: &instance, ClientID: "c\x00", ClientHost: "/127.0.0.1", SessionTimeout: 45 * time.Second,
				RebalanceTimeout: time.Minute, Metadata: []byte{0, 1, 255}, Assignment: []byte{9}},
			{MemberID: "n", Metadata: []byte{1}, Assignment: []byte{2}},
		},
		StateSince: time.UnixMilli(1_700_000_000_123).UTC(),
	}
	if err := s.SaveGroup(t.Context(), epoch, g); err != nil {
		t.Fatal(err)
	}
	g.Generation = 8
	if err := s.SaveGroup(t.Context(), epoch, g); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadShard(t.Context(), 3, epoch)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	got[0].StateSince = got[0].StateSince.UTC()
	if !reflect.DeepEqual(got[0], g) {
		t.Errorf("got  %+v\nwant %+v", got[0], g)
	}
	topic := uuid.New()
	owned := func(p, epoch int32) map[metadata.TopicPartition]int32 {
		return map[metadata.TopicPartition]int32{{TopicID: topic, Partition: p}: epoch}
	}
	g.Members, g.Consumer = nil, &metadata.ConsumerGroup{AssignmentEpoch: 6, Topics: map[metadata.TopicID]int32{topic: 9}, Members: []metadata.ConsumerMember{
		{MemberID: "m\xff", InstanceID: &instance, RackID: &instance, ClientID: "c\x00", ClientHost: "/127.0.0.1", RebalanceTimeout: time.Minute,
			Topics: []string{"a\xff"}, Regex: "\xfe", Assignor: "range", Epoch: -2, PreviousEpoch: 5, State: 1,
			Assigned: owned(1, 4), Revoking: owned(2, 3), Target: []metadata.TopicPartition{{TopicID: topic, Partition: 7}}},
	}}
	if err := s.SaveGroup(t.Context(), epoch, g); err != nil {
		t.Fatal(err)
	}
	if got, err = s.LoadShard(t.Context(), 3, epoch); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0].Consumer, g.Consumer) {
		t.Errorf("got  %+v\nwant %+v, %v", got[0].Consumer, g.Consumer, err)
	}
	g.Members = []metadata.GroupMember{{MemberID: "classic"}} // as a broker of the version before leaves it
	if err := s.SaveGroup(t.Context(), epoch, g); err != nil {
		t.Fatal(err)
	}
	if got, err = s.LoadShard(t.Context(), 3, epoch); err != nil || len(got) != 1 || got[0].Consumer != nil || len(got[0].Members) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	g.Members, g.Consumer = nil, nil // it becomes a classic group
	if err := s.SaveGroup(t.Context(), epoch, g); err != nil {
		t.Fatal(err)
	}
	if got, err = s.LoadShard(t.Context(), 3, epoch); err != nil || len(got) != 1 || got[0].Consumer != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if other, err := s.LoadShard(t.Context(), 4, epoch); err != nil || len(other) != 0 {
		t.Error(other, err)
	}
	if err := s.DeleteGroups(t.Context(), epoch, 3, []string{awkward, "absent"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.LoadShard(t.Context(), 3, epoch); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

func TestOffsets(t *testing.T) {
	s := open(t)
	tp, _ := led(t, s)
	epoch := shardOwner(t, s)
	gone := metadata.TopicPartition{TopicID: uuid.New()}
	commit := func(group string, tp metadata.TopicPartition, offset int64, text string) metadata.OffsetCommit {
		return metadata.OffsetCommit{GroupID: group, Offset: metadata.Offset{TopicPartition: tp, Offset: offset, LeaderEpoch: -1, Metadata: text}}
	}
	before := snapshot(t, s).Version
	err := s.CommitOffsets(t.Context(), 3, epoch, []metadata.OffsetCommit{
		commit(awkward, tp, 5, "first"), commit("b", tp, 1, ""), commit(awkward, gone, 4, ""), commit(awkward, tp, 6, "l\x00st"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.FetchOffsets(t.Context(), awkward, nil)
	if err != nil || len(got) != 1 || got[0].Offset != 6 || got[0].Metadata != "l\x00st" || got[0].LeaderEpoch != -1 || got[0].CommittedAt.IsZero() {
		t.Fatal(got, err)
	}
	if err := s.CommitOffsets(t.Context(), 3, epoch, []metadata.OffsetCommit{commit(awkward, tp, 2, "")}); err != nil {
		t.Fatal(err)
	}
	got, err = s.FetchOffsets(t.Context(), awkward, []metadata.TopicPartition{tp, gone, {TopicID: tp.TopicID, Partition: 1}})
	if err != nil || len(got) != 1 || got[0].Offset != 2 {
		t.Error("a later commit wins, also with a lower offset", got, err)
	}
	if groups, err := s.LoadShard(t.Context(), 3, epoch); err != nil || len(groups) != 2 || groups[0].Generation != 0 {
		t.Error("the groups exist now", groups, err)
	}
	stale := got[0]
	stale.CommittedAt = stale.CommittedAt.Add(-time.Microsecond)
	for _, x := range []struct {
		what   string
		offset metadata.Offset
		left   int
	}{
		{"one that was committed again since", stale, 1},
		{"one as it was seen", got[0], 0},
	} {
		if err := s.DeleteOffsets(t.Context(), 3, epoch, awkward, []metadata.Offset{x.offset, {TopicPartition: gone}}); err != nil {
			t.Fatal(err)
		}
		if left, err := s.FetchOffsets(t.Context(), awkward, nil); err != nil || len(left) != x.left {
			t.Errorf("deleting %s: %v, %v", x.what, left, err)
		}
	}
	long := commit(awkward, tp, 7, "")
	long.Retention = time.Hour
	if err := s.CommitOffsets(t.Context(), 3, epoch, []metadata.OffsetCommit{long}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.FetchOffsets(t.Context(), awkward, nil); err != nil || got[0].ExpireAt.Sub(got[0].CommittedAt).Round(time.Minute) != time.Hour {
		t.Error("an offset with a retention of its own", got, err)
	}
	if v := snapshot(t, s).Version; v != before {
		t.Error("offsets are no metadata change")
	}
	if _, err := s.DeleteTopics(t.Context(), []metadata.TopicRef{{Name: "flights"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.FetchOffsets(t.Context(), awkward, nil); err != nil || len(got) != 0 {
		t.Error("offsets go with their topic", got, err)
	}
}

// A coordinator that lost its shard writes nothing and loads nothing.
func TestShardFence(t *testing.T) {
	s := open(t)
	tp, b := led(t, s)
	stale := shardOwner(t, s)
	if err := s.Unregister(t.Context(), 1, b.epoch); err != nil { // takes the shards away
		t.Fatal(err)
	}
	_, err := s.LoadShard(t.Context(), 3, stale)
	wantKafka(t, err, kerr.NotCoordinator)
	wantKafka(t, s.SaveGroup(t.Context(), stale, metadata.GroupState{GroupID: "g", Shard: 3}), kerr.NotCoordinator)
	wantKafka(t, s.DeleteGroups(t.Context(), stale, 3, []string{"g"}), kerr.NotCoordinator)
	c := metadata.OffsetCommit{GroupID: "g", Offset: metadata.Offset{TopicPartition: tp, Offset: 1}}
	wantKafka(t, s.CommitOffsets(t.Context(), 3, stale, []metadata.OffsetCommit{c}), kerr.NotCoordinator)
	wantKafka(t, s.DeleteOffsets(t.Context(), 3, stale, "g", nil), kerr.NotCoordinator)
	if got, err := s.FetchOffsets(t.Context(), "g", nil); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}
