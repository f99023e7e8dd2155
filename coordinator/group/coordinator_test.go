package group

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator"
	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

const patience = 30 * time.Second

// house is a Postgres with a registered broker 1 and a topic "t" of 3 partitions.
type house struct {
	store *postgres.Store
	image atomic.Pointer[metadata.Image]
	topic metadata.TopicID

	controller int64 // its epoch, when there is one
}

func newHouse(t testing.TB, url string) *house {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	h := &house{store: store}
	if _, err := store.ClusterID(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.register(t, 1)
	out, err := store.CreateTopics(t.Context(), []metadata.NewTopic{{Name: "t", Assignment: [][]metadata.BrokerID{{1}, {1}, {1}}}}, false)
	if err != nil || out[0].Err != nil {
		t.Fatal(err, out)
	}
	h.topic = out[0].ID
	h.refresh(t)
	return h
}

func (h *house) register(t testing.TB, id metadata.BrokerID) {
	t.Helper()
	epoch, err := h.store.Register(t.Context(), metadata.Registration{ID: id, Incarnation: uuid.New(), Host: "broker.test", Port: 9092,
		Dirs: []metadata.DirID{uuid.New()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Heartbeat(t.Context(), id, epoch, 1<<40, time.Hour); err != nil {
		t.Fatal(err)
	}
}

func (h *house) refresh(t testing.TB) {
	t.Helper()
	im, err := h.store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.image.Store(im)
}

// assign has the controller give the shards to the registered brokers, and returns the new image.
func (h *house) assign(t testing.TB) *metadata.Image {
	t.Helper()
	if h.controller == 0 {
		epoch, ok, err := h.store.AcquireController(t.Context(), 1, time.Hour)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		h.controller = epoch
	}
	for n := 1; n > 0; {
		var err error
		if n, err = h.store.ControllerPass(t.Context(), h.controller); err != nil {
			t.Fatal(err)
		}
	}
	h.refresh(t)
	return h.image.Load()
}

func (h *house) start(t testing.TB, self metadata.BrokerID, change func(*Config)) *Coordinator {
	t.Helper()
	cfg := Config{Self: self, Store: h.store, Image: h.image.Load, MinSession: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func joinRequest(group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = 9, group, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 30_000, 30_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("meta")}}
	return r
}

// joinAlone joins a group as its only member and syncs; it returns its id and generation.
func joinAlone(t *testing.T, c *Coordinator, group string) (string, int32) {
	t.Helper()
	ctx := t.Context()
	var first *kmsg.JoinGroupResponse
	eventually(t, "the coordinator to load", func() bool {
		first = c.JoinGroup(ctx, joinRequest(group, ""), "client", "/1.2.3.4")
		return first.ErrorCode != kerr.CoordinatorLoadInProgress.Code && first.ErrorCode != kerr.NotCoordinator.Code
	})
	if first.ErrorCode != kerr.MemberIDRequired.Code {
		t.Fatalf("first join: %v", kerr.ErrorForCode(first.ErrorCode))
	}
	second := c.JoinGroup(ctx, joinRequest(group, first.MemberID), "client", "/1.2.3.4")
	if second.ErrorCode != 0 || second.LeaderID != first.MemberID {
		t.Fatalf("second join: %v, leader %q", kerr.ErrorForCode(second.ErrorCode), second.LeaderID)
	}
	sync := syncRequest(group, first.MemberID, second.Generation)
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: first.MemberID, MemberAssignment: []byte("all")}}
	if a := c.SyncGroup(ctx, sync); a.ErrorCode != 0 || string(a.MemberAssignment) != "all" {
		t.Fatalf("sync: %v, %q", kerr.ErrorForCode(a.ErrorCode), a.MemberAssignment)
	}
	return first.MemberID, second.Generation
}

func syncRequest(group, id string, generation int32) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 4, group, id, generation
	return r
}

func beat(ctx context.Context, c *Coordinator, group, id string, generation int32) int16 {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 4, group, id, generation
	return c.Heartbeat(ctx, r).ErrorCode
}

func commitRequest(group, id string, generation, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 8, group, id, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, offset, new("note")
	r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return r
}

func commitCode(r *kmsg.OffsetCommitResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode }

func fetched(t *testing.T, c *Coordinator, group string) map[int32]int64 {
	t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version, r.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: group, MemberEpoch: -1}}
	a := c.OffsetFetch(t.Context(), r).Groups[0]
	if a.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(a.ErrorCode))
	}
	out := map[int32]int64{}
	for _, topic := range a.Topics {
		for _, p := range topic.Partitions {
			out[p.Partition] = p.Offset
		}
	}
	return out
}

// A member goes on with another coordinator without joining again; the former one refuses, and cannot write.
func TestGroupMoves(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	one := h.start(t, 1, nil)
	one.Apply(h.assign(t))
	id, generation := joinAlone(t, one, "g")
	if code := commitCode(one.OffsetCommit(t.Context(), commitRequest("g", id, generation, 1, 42))); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}

	h.register(t, 2)
	moved := h.assign(t)
	if owner := moved.GroupShards[coordinator.ShardOf("g")].Owner; owner != 2 {
		t.Fatalf("the controller left the shard with broker %d", owner)
	}
	// The former owner does not know yet: its writes are fenced.
	if code := commitCode(one.OffsetCommit(t.Context(), commitRequest("g", id, generation, 1, 41))); code != kerr.NotCoordinator.Code {
		t.Errorf("commit at the former owner: %v", kerr.ErrorForCode(code))
	}
	one.Apply(moved)
	two := h.start(t, 2, nil)
	two.Apply(moved)
	eventually(t, "the former owner to refuse", func() bool { return beat(t.Context(), one, "g", id, generation) == kerr.NotCoordinator.Code })
	eventually(t, "the shard to load", func() bool {
		_, err := inspect(t.Context(), two, two.shardOf("g"), func(map[string]anyGroup) int { return 0 })
		return err == nil
	})
	if code := beat(t.Context(), two, "g", id, generation); code != 0 {
		t.Errorf("heartbeat at the new owner: %v", kerr.ErrorForCode(code))
	}
	if a := two.SyncGroup(t.Context(), syncRequest("g", id, generation)); string(a.MemberAssignment) != "all" {
		t.Errorf("assignment %q, %v", a.MemberAssignment, kerr.ErrorForCode(a.ErrorCode))
	}
	if got := fetched(t, two, "g"); got[1] != 42 || len(got) != 1 {
		t.Errorf("offsets %v", got)
	}
}

// A join that is parked is answered when its shard goes to another broker.
func TestParkedJoinIsAnsweredWhenTheShardIsLost(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, func(cfg *Config) { cfg.InitialRebalanceDelay = time.Hour })
	im := h.assign(t)
	c.Apply(im)
	eventually(t, "the shard to load", func() bool {
		_, err := inspect(t.Context(), c, c.shardOf("g"), func(map[string]anyGroup) int { return 0 })
		return err == nil
	})
	answered := make(chan int16)
	go func() {
		r := joinRequest("g", "")
		r.Version = 3
		answered <- c.JoinGroup(t.Context(), r, "client", "").ErrorCode
	}()
	eventually(t, "the join to be parked", func() bool {
		n, _ := inspect(t.Context(), c, c.shardOf("g"), func(m map[string]anyGroup) int { return len(m) })
		return n == 1
	})
	moved := *im
	moved.GroupShards = append([]metadata.Shard(nil), im.GroupShards...)
	shard := coordinator.ShardOf("g")
	moved.GroupShards[shard] = metadata.Shard{Owner: 9, Epoch: im.GroupShards[shard].Epoch + 1}
	c.Apply(&moved)
	if code := <-answered; code != kerr.NotCoordinator.Code {
		t.Error(kerr.ErrorForCode(code))
	}
}

// Commits of many clients share transactions; each sees its own, and the last of one key wins.
func TestCommitsAreBatched(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	counted := &countingStore{Store: h.store}
	c := h.start(t, 1, func(cfg *Config) { cfg.Store = counted })
	c.Apply(h.assign(t))
	id, generation := joinAlone(t, c, "g")
	const clients, each = 8, 20
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for n := range each {
				if code := commitCode(c.OffsetCommit(t.Context(), commitRequest("g", id, generation, int32(i%3), int64(n)))); code != 0 {
					t.Error(kerr.ErrorForCode(code))
				}
			}
		})
	}
	wg.Wait()
	if got := fetched(t, c, "g"); fmt.Sprint(got) != fmt.Sprint(map[int32]int64{0: each - 1, 1: each - 1, 2: each - 1}) {
		t.Errorf("offsets %v", got)
	}
	if n := counted.commits.Load(); n > clients*each/2 {
		t.Errorf("%d commits in %d transactions", clients*each, n)
	}
}

type countingStore struct {
	Store
	commits atomic.Int64
}

func (s *countingStore) CommitOffsets(ctx context.Context, shard, epoch int32, commits []metadata.OffsetCommit) error {
	s.commits.Add(1)
	return s.Store.CommitOffsets(ctx, shard, epoch, commits)
}

// While Postgres is away members keep their sessions, commits and joins are refused after their time, and afterwards
// everything goes on without a rebalance.
func TestPostgresAway(t *testing.T) {
	server := testpg.Server(t)
	h := newHouse(t, server.URL())
	c := h.start(t, 1, func(cfg *Config) { cfg.CommitTimeout = 500 * time.Millisecond })
	c.Apply(h.assign(t))
	id, generation := joinAlone(t, c, "g")
	short := joinRequest("short", "")
	short.Version, short.SessionTimeoutMillis = 3, 1500
	eventually(t, "the shard of the other group to load", func() bool {
		a := c.JoinGroup(t.Context(), short, "client", "")
		if a.ErrorCode != 0 && a.ErrorCode != kerr.CoordinatorLoadInProgress.Code {
			t.Fatal(kerr.ErrorForCode(a.ErrorCode))
		}
		return a.ErrorCode == 0
	})

	server.Stop()
	if code := commitCode(c.OffsetCommit(t.Context(), commitRequest("g", id, generation, 0, 7))); code != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("commit: %v", kerr.ErrorForCode(code))
	}
	if a := c.JoinGroup(t.Context(), joinRequest("g", ""), "other", ""); a.ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("join: %v", kerr.ErrorForCode(a.ErrorCode))
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 2, "g", id
	if a := c.LeaveGroup(t.Context(), leave); a.ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("leave: %v", kerr.ErrorForCode(a.ErrorCode))
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1}}
	if a := c.OffsetFetch(t.Context(), fetch); a.Groups[0].ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("offset fetch: %v", kerr.ErrorForCode(a.Groups[0].ErrorCode))
	}
	// The member of group "short" never speaks again. Longer than its session it is not removed.
	for until := time.Now().Add(2500 * time.Millisecond); time.Now().Before(until); {
		if code := beat(t.Context(), c, "g", id, generation); code != 0 {
			t.Fatalf("heartbeat: %v", kerr.ErrorForCode(code))
		}
		if n := membersOf(t, c, "short"); n != 1 {
			t.Fatalf("%d members: a session expired while Postgres was away", n)
		}
		c.pause(50 * time.Millisecond)
	}

	server.Start()
	eventually(t, "a commit to succeed", func() bool {
		return commitCode(c.OffsetCommit(t.Context(), commitRequest("g", id, generation, 0, 8))) == 0
	})
	if got := fetched(t, c, "g"); got[0] != 8 {
		t.Errorf("offsets %v", got)
	}
	if code := beat(t.Context(), c, "g", id, generation); code != 0 {
		t.Errorf("heartbeat: %v", kerr.ErrorForCode(code))
	}
	eventually(t, "the session to expire at last", func() bool { return membersOf(t, c, "short") == 0 })
}

func membersOf(t *testing.T, c *Coordinator, group string) int {
	t.Helper()
	n, err := inspect(t.Context(), c, c.shardOf(group), func(m map[string]anyGroup) int {
		if m[group] == nil {
			return 0
		}
		return len(m[group].(*machine).members)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Time stands still while Postgres is away, and goes on where it stood.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		start := c.now()
		c.observe(nil)
		time.Sleep(time.Second) //lint:allow test-sleep the passing of time is what is tested
		c.observe(&postgres.UnavailableError{Kafka: kerr.CoordinatorNotAvailable})
		time.Sleep(time.Minute) //lint:allow test-sleep the passing of time is what is tested
		if d := c.now().Sub(start); d != time.Second || !c.frozen() || c.confirmed() {
			t.Errorf("%v passed during an outage, frozen %v, confirmed %v", d, c.frozen(), c.confirmed())
		}
		c.observe(kerr.NotCoordinator) // an answer, if not the one hoped for
		time.Sleep(time.Second)        //lint:allow test-sleep the passing of time is what is tested
		if d := c.now().Sub(start); d != 2*time.Second || c.frozen() || !c.confirmed() {
			t.Errorf("%v passed, frozen %v, confirmed %v", d, c.frozen(), c.confirmed())
		}
	})
}

// Since v5 a sync must tell the protocol, and that is looked at first.
func TestSyncTellsTheProtocol(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, nil)
	c.Apply(h.assign(t))
	id, generation := joinAlone(t, c, "g")
	r := syncRequest("g", id, generation)
	r.Version, r.ProtocolType = 5, new("consumer")
	if a := c.SyncGroup(t.Context(), r); a.ErrorCode != kerr.InconsistentGroupProtocol.Code {
		t.Error(kerr.ErrorForCode(a.ErrorCode))
	}
	r.Protocol = new("range")
	if a := c.SyncGroup(t.Context(), r); a.ErrorCode != 0 {
		t.Error(kerr.ErrorForCode(a.ErrorCode))
	}
}

// A deleted group is gone with its offsets; a group with members is not deleted.
func TestDeleteGroups(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, nil)
	c.Apply(h.assign(t))
	joinAlone(t, c, "busy")
	eventually(t, "the shard to load", func() bool {
		return commitCode(c.OffsetCommit(t.Context(), commitRequest("simple", "", -1, 0, 5))) == 0
	})
	eventually(t, "every shard to load", func() bool {
		return c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()).ErrorCode == 0
	})
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Version, del.Groups = 2, []string{"busy", "absent", "simple"}
	want := []int16{kerr.NonEmptyGroup.Code, kerr.GroupIDNotFound.Code, 0}
	for i, g := range c.DeleteGroups(t.Context(), del).Groups {
		if g.ErrorCode != want[i] {
			t.Errorf("%s: %v", g.Group, kerr.ErrorForCode(g.ErrorCode))
		}
	}
	if got := fetched(t, c, "simple"); len(got) != 0 {
		t.Errorf("offsets of a deleted group: %v", got)
	}
	list := c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest())
	if len(list.Groups) != 1 || list.Groups[0].Group != "busy" || list.Groups[0].GroupState != "Stable" {
		t.Errorf("%+v", list)
	}
}
