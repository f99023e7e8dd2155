package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator"
	"varve/internal/testpg"
	"varve/metadata"
)

// Offsets of a simple consumer expire one by one, and the group goes with the last; what a consumer reads stays.
func TestExpiry(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	const retention = 1500 * time.Millisecond
	c := h.start(t, 1, func(cfg *Config) {
		cfg.OffsetsRetention, cfg.RetentionCheckInterval, cfg.CommitTimeout = retention, 20*time.Millisecond, time.Second
	})
	c.Apply(h.assign(t))
	joinAlone(t, c, "busy")
	commit := func(group string, partition int32) bool {
		return commitCode(c.OffsetCommit(t.Context(), commitRequest(group, "", -1, partition, 5))) == 0
	}
	eventually(t, "the shards to load", func() bool { return commit("idle", 0) && commit("used", 0) })
	eventually(t, "the idle group to expire, and the unused offset of the other", func() bool {
		if !commit("used", 1) {
			t.Error("a group that is used cannot be committed to")
		}
		list := c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest())
		return list.ErrorCode == 0 && len(list.Groups) == 2 && len(fetched(t, c, "used")) == 1
	})
	if got := fetched(t, c, "used"); got[1] != 5 {
		t.Errorf("offsets of a group that is used: %v", got)
	}
	if n := membersOf(t, c, "busy"); n != 1 {
		t.Errorf("%d members", n)
	}
}

// An old client's retention of its own goes before the group's.
func TestExplicitRetention(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, func(cfg *Config) { cfg.OffsetsRetention, cfg.RetentionCheckInterval = time.Hour, 20*time.Millisecond })
	c.Apply(h.assign(t))
	for partition, retention := range []int64{-1, 0, 3600_000} {
		r := commitRequest("old", "", -1, int32(partition), 5)
		r.Version, r.RetentionTimeMillis = 3, retention
		eventually(t, "the commit", func() bool { return commitCode(c.OffsetCommit(t.Context(), r)) == 0 })
	}
	eventually(t, "the offset of no retention to go", func() bool {
		return fmt.Sprint(fetched(t, c, "old")) == fmt.Sprint(map[int32]int64{0: 5, 2: 5})
	})
}

// A coordinator that did not see the commits of a group learns of them from Postgres before it deletes anything.
func TestExpiryAsksPostgres(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	im := h.assign(t)
	for _, id := range []string{"old", "used"} {
		shard := coordinator.ShardOf(id)
		g := metadata.GroupState{GroupID: id, Shard: shard, StateSince: time.Now().Add(-2 * time.Hour)}
		if err := h.store.SaveGroup(t.Context(), im.GroupShards[shard].Epoch, g); err != nil {
			t.Fatal(err)
		}
	}
	shard := coordinator.ShardOf("used")
	used := metadata.OffsetCommit{GroupID: "used", Offset: metadata.Offset{TopicPartition: metadata.TopicPartition{TopicID: h.topic}, Offset: 5}}
	if err := h.store.CommitOffsets(t.Context(), shard, im.GroupShards[shard].Epoch, []metadata.OffsetCommit{used}); err != nil {
		t.Fatal(err)
	}
	c := h.start(t, 1, func(cfg *Config) { cfg.OffsetsRetention = time.Hour })
	c.Apply(im)
	var list *kmsg.ListGroupsResponse
	eventually(t, "the shards to load", func() bool {
		list = c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest())
		return list.ErrorCode == 0 && len(list.Groups) == 2
	})
	for _, s := range c.shards {
		c.expireShard(s)
	}
	list = c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest())
	if len(list.Groups) != 1 || list.Groups[0].Group != "used" {
		t.Errorf("left: %+v", list.Groups)
	}
}

// TestExpired says which offsets of a group go, an hour being the retention.
func TestExpired(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	read, unread, unnamed := uuid.New(), uuid.New(), uuid.New()
	names := map[metadata.TopicID]string{read: "read", unread: "unread"}
	old, fresh := now.Add(-2*time.Hour), now.Add(-time.Minute)
	offset := func(topic metadata.TopicID, at, expires time.Time) metadata.Offset {
		return metadata.Offset{TopicPartition: metadata.TopicPartition{TopicID: topic}, CommittedAt: at, ExpireAt: expires}
	}
	var never time.Time
	offsets := []metadata.Offset{0: offset(read, old, never), 1: offset(unread, old, never), 2: offset(unread, fresh, never),
		3: offset(unread, old, now.Add(1)), 4: offset(unread, fresh, now), 5: offset(unnamed, old, never)}
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics = []string{"read"}
	for _, c := range []struct {
		name         string
		state        state
		since        time.Time
		protocolType string
		metadata     []byte // of its member
		want         string
	}{
		{"simple consumer", empty, fresh, "", nil, "[0 1 4]"},
		{"long empty", empty, old, "consumer", nil, "[0 1 2 4]"},
		{"empty for exactly so long", empty, now.Add(-time.Hour), "consumer", nil, "[0 1 2 4]"},
		{"empty lately", empty, fresh, "consumer", nil, "[4]"},
		{"stable", stable, old, "consumer", subscription.AppendTo(nil), "[1 4]"},
		{"stable, subscription not understood", stable, old, "consumer", []byte("?"), "[]"},
		{"stable, no consumers", stable, old, "connect", nil, "[]"},
		{"in a rebalance", preparing, old, "consumer", subscription.AppendTo(nil), "[]"},
		{"waiting for assignments", completing, old, "consumer", subscription.AppendTo(nil), "[]"},
	} {
		m := newMachine("g", 0, &rules{}, now)
		m.state, m.since, m.protocolType = c.state, c.since, c.protocolType
		if c.state != empty {
			m.protocol = "range"
			m.members = []*member{{id: "a", protocols: []protocol{{"range", c.metadata}}}}
		}
		got := []int{}
		for _, o := range m.expired(offsets, func(id metadata.TopicID) string { return names[id] }, time.Hour, now) {
			for i := range offsets {
				if offsets[i] == o {
					got = append(got, i)
				}
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}
