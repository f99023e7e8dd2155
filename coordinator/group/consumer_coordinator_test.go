package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator"
	"varve/internal/testpg"
)

func beatRequest(group, id string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, group, id, epoch
	if epoch == joining {
		r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 30_000, []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return r
}

// beatUntilLoaded sends a heartbeat until the shard is there.
func beatUntilLoaded(t *testing.T, c *Coordinator, r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	t.Helper()
	var a *kmsg.ConsumerGroupHeartbeatResponse
	eventually(t, "the coordinator to load", func() bool {
		a = c.ConsumerGroupHeartbeat(t.Context(), r, "client", "/1.2.3.4")
		return a.ErrorCode != kerr.CoordinatorLoadInProgress.Code && a.ErrorCode != kerr.NotCoordinator.Code
	})
	return a
}

func partitionsOfAnswer(a *kmsg.ConsumerGroupHeartbeatResponse) string {
	if a.ErrorCode != 0 {
		return kerr.ErrorForCode(a.ErrorCode).Error()
	}
	if a.Assignment == nil {
		return "as before"
	}
	var out []int32
	for _, t := range a.Assignment.Topics {
		out = append(out, t.Partitions...)
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

// A member of a consumer group goes on with another coordinator, which knows epochs, targets and what is being revoked.
func TestConsumerGroupMoves(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	one := h.start(t, 1, nil)
	one.Apply(h.assign(t))
	if a := beatUntilLoaded(t, one, beatRequest("g", "a", joining)); partitionsOfAnswer(a) != "[0 1 2]" || a.MemberEpoch != 2 || a.HeartbeatIntervalMillis != 5000 {
		t.Fatalf("%+v", a)
	}
	if a := beatUntilLoaded(t, one, beatRequest("g", "b", joining)); partitionsOfAnswer(a) != "[]" || a.MemberEpoch != 3 {
		t.Fatalf("%+v", a)
	}
	if a := beatUntilLoaded(t, one, beatRequest("g", "a", 2)); partitionsOfAnswer(a) != "[0 1]" || a.MemberEpoch != 2 {
		t.Fatalf("%+v", a)
	}
	commit := commitRequest("g", "a", 2, 1, 42)
	commit.Version = 9
	if code := commitCode(one.OffsetCommit(t.Context(), commit)); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}

	h.register(t, 2)
	moved := h.assign(t)
	if owner := moved.GroupShards[coordinator.ShardOf("g")].Owner; owner != 2 {
		t.Fatalf("the controller left the shard with broker %d", owner)
	}
	// The former owner does not know yet: what it promises must not be.
	if a := one.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "c", joining), "", ""); a.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("a join at the former owner: %v", kerr.ErrorForCode(a.ErrorCode))
	}
	one.Apply(moved)
	two := h.start(t, 2, nil)
	two.Apply(moved)
	// a has revoked: b gets what was revoked. Nobody joined again.
	revoked := beatRequest("g", "a", 2)
	revoked.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: h.topic, Partitions: []int32{0, 1}}}
	if a := beatUntilLoaded(t, two, revoked); partitionsOfAnswer(a) != "as before" || a.MemberEpoch != 3 {
		t.Errorf("%+v", a)
	}
	if a := beatUntilLoaded(t, two, beatRequest("g", "b", 3)); partitionsOfAnswer(a) != "[2]" {
		t.Errorf("%+v", a)
	}
	d := two.ConsumerGroupDescribe(t.Context(), &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: []string{"g"}})
	if g := d.Groups[0]; g.State != "Stable" || g.Epoch != 3 || g.AssignmentEpoch != 3 || g.AssignorName != "uniform" || len(g.Members) != 2 ||
		g.Members[0].ClientHost != "/1.2.3.4" || g.Members[0].Assignment.TopicPartitions[0].Topic != "t" || g.Members[0].MemberType != 1 {
		t.Errorf("%+v", g)
	}
	if got := fetched(t, two, "g"); got[1] != 42 {
		t.Errorf("offsets %v", got)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.Groups = 9, []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberID: new("a"), MemberEpoch: 2}}
	if a := two.OffsetFetch(t.Context(), fetch).Groups[0]; a.ErrorCode != kerr.StaleMemberEpoch.Code {
		t.Error(kerr.ErrorForCode(a.ErrorCode))
	}
}

// A group changes its kind while it is empty, and only then; its offsets stay. Lists and descriptions tell the kinds apart.
func TestEmptyGroupsChangeTheirKind(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, nil)
	c.Apply(h.assign(t))
	if a := beatUntilLoaded(t, c, beatRequest("g", "a", joining)); a.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(a.ErrorCode))
	}
	commit := commitRequest("g", "a", 2, 1, 42)
	commit.Version = 9
	if code := commitCode(c.OffsetCommit(t.Context(), commit)); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	if a := c.JoinGroup(t.Context(), joinRequest("g", ""), "client", ""); a.ErrorCode != kerr.InconsistentGroupProtocol.Code {
		t.Errorf("a classic member joins: %v", kerr.ErrorForCode(a.ErrorCode))
	}
	expectKind(t, c, "consumer")
	if d := c.DescribeGroups(t.Context(), &kmsg.DescribeGroupsRequest{Version: 6, Groups: []string{"g"}}); d.Groups[0].ErrorCode != kerr.GroupIDNotFound.Code {
		t.Errorf("%+v", d.Groups[0])
	}
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", leaving), "", ""); a.ErrorCode != 0 || a.MemberEpoch != leaving {
		t.Errorf("%+v", a)
	}
	id, generation := joinAlone(t, c, "g")
	expectKind(t, c, "classic")
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", joining), "", ""); a.ErrorCode != kerr.GroupIDNotFound.Code ||
		*a.ErrorMessage != "Group g is not a consumer group." {
		t.Errorf("%+v", a)
	}
	if d := c.ConsumerGroupDescribe(t.Context(), &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g", "none"}}); d.Groups[0].ErrorCode != kerr.GroupIDNotFound.Code ||
		d.Groups[1].ErrorCode != kerr.GroupIDNotFound.Code {
		t.Errorf("%+v", d.Groups)
	}
	if code := beat(t.Context(), c, "g", id, generation); code != 0 {
		t.Error(kerr.ErrorForCode(code))
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 2, "g", id
	c.LeaveGroup(t.Context(), leave)
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", joining), "", ""); partitionsOfAnswer(a) != "[0 1 2]" {
		t.Errorf("%+v", a)
	}
	expectKind(t, c, "consumer")
	if got := fetched(t, c, "g"); got[1] != 42 {
		t.Errorf("offsets %v", got)
	}
	// What Postgres has is the kind of the group that is.
	epoch := h.image.Load().GroupShards[coordinator.ShardOf("g")].Epoch
	if g, err := h.store.LoadShard(t.Context(), coordinator.ShardOf("g"), epoch); err != nil || len(g) != 1 || g[0].Consumer == nil || len(g[0].Consumer.Members) != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}

func expectKind(t *testing.T, c *Coordinator, kind string) {
	t.Helper()
	for _, filter := range []string{"consumer", "classic"} {
		var a *kmsg.ListGroupsResponse
		eventually(t, "all shards to load", func() bool {
			a = c.ListGroups(t.Context(), &kmsg.ListGroupsRequest{Version: 5, TypesFilter: []string{filter}})
			return a.ErrorCode != kerr.CoordinatorLoadInProgress.Code
		})
		if listed := len(a.Groups) == 1; listed != (filter == kind) {
			t.Errorf("groups of type %s: %+v", filter, a.Groups)
		}
	}
}

// Requests that make no sense are refused with Kafka's words.
func TestBeatRequestsAreChecked(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, nil)
	for want, change := range map[string]func(r *kmsg.ConsumerGroupHeartbeatRequest){
		"MemberId can't be empty.":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" },
		"GroupId can't be empty.":    func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" },
		"InstanceId can't be empty.": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = new("") },
		"RackId can't be empty.":     func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = new("") },
		"RebalanceTimeoutMs must be provided in first request.": func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.RebalanceTimeoutMillis = -1
		},
		"TopicPartitions must be empty when (re-)joining.": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil },
		"Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.": func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.SubscribedTopicNames = nil
		},
		"InstanceId can't be null.": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 },
		"MemberEpoch is invalid.":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 },
		"ServerAssignor sticky is not supported. Supported assignors: uniform, range.": func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.ServerAssignor = new("sticky")
		},
	} {
		r := beatRequest("g", "a", joining)
		change(r)
		if a := c.ConsumerGroupHeartbeat(t.Context(), r, "", ""); a.ErrorCode == 0 || a.ErrorMessage == nil || *a.ErrorMessage != want {
			t.Errorf("want %q: %+v", want, a)
		}
	}
}

// Without the protocol in group.coordinator.rebalance.protocols nobody joins by it.
func TestClassicOnly(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, func(cfg *Config) { cfg.ClassicOnly = true })
	c.Apply(h.assign(t))
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", joining), "", ""); a.ErrorCode != kerr.UnsupportedVersion.Code {
		t.Error(kerr.ErrorForCode(a.ErrorCode))
	}
}

// While Postgres is away members of consumer groups keep their sessions, and afterwards go on where they were.
func TestConsumerGroupWhilePostgresIsAway(t *testing.T) {
	server := testpg.Server(t)
	h := newHouse(t, server.URL())
	c := h.start(t, 1, func(cfg *Config) { cfg.CommitTimeout, cfg.ConsumerSession = 500*time.Millisecond, 3*time.Second })
	c.Apply(h.assign(t))
	if a := beatUntilLoaded(t, c, beatRequest("g", "a", joining)); a.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(a.ErrorCode))
	}
	server.Stop()
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "b", joining), "", ""); a.ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("a member joins: %+v", a)
	}
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); c.pause(100 * time.Millisecond) { // longer than a session
		if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", 2), "", ""); a.ErrorCode != 0 || a.MemberEpoch != 2 || a.Assignment != nil {
			t.Fatalf("a heartbeat: %+v", a)
		}
	}
	server.Start()
	eventually(t, "a member to join", func() bool {
		return c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "b", joining), "", "").ErrorCode == 0
	})
	if a := c.ConsumerGroupHeartbeat(t.Context(), beatRequest("g", "a", 2), "", ""); partitionsOfAnswer(a) != "[0 1]" {
		t.Errorf("%+v", a)
	}
}
