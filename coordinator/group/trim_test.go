package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testpg"
)

func deleteOffset(t *testing.T, c *Coordinator, group, topic string, partition int32) (top, code int16) {
	t.Helper()
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = group
	r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	a := c.OffsetDelete(t.Context(), r)
	if a.ErrorCode != 0 {
		return a.ErrorCode, 0
	}
	return 0, a.Topics[0].Partitions[0].ErrorCode
}

// Offsets of topics that nobody reads may be deleted; of an active group whose members are no consumers, none.
func TestOffsetDelete(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, nil)
	c.Apply(h.assign(t))
	member := func(group, protocolType string, topics ...string) (string, int32) {
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Topics = topics
		join := joinRequest(group, "")
		join.Version, join.ProtocolType, join.Protocols[0].Metadata = 3, protocolType, meta.AppendTo(nil)
		var a *kmsg.JoinGroupResponse
		eventually(t, "the join", func() bool { a = c.JoinGroup(t.Context(), join, "c", "/h"); return a.ErrorCode == 0 })
		if s := c.SyncGroup(t.Context(), syncRequest(group, a.MemberID, a.Generation)); s.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(s.ErrorCode))
		}
		if code := commitCode(c.OffsetCommit(t.Context(), commitRequest(group, a.MemberID, a.Generation, 1, 5))); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		return a.MemberID, a.Generation
	}
	reader, _ := member("reader", "consumer", "t")
	member("other", "consumer", "elsewhere")
	member("workers", "connect")
	eventually(t, "a simple commit", func() bool {
		return commitCode(c.OffsetCommit(t.Context(), commitRequest("simple", "", -1, 1, 5))) == 0
	})
	eventually(t, "all shards to load", func() bool { return c.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()).ErrorCode == 0 })
	for _, x := range []struct {
		group, topic string
		top, code    *kerr.Error
		left         int
	}{
		{"", "t", kerr.InvalidGroupID, nil, 0},
		{"absent", "t", kerr.GroupIDNotFound, nil, 0},
		{"reader", "t", nil, kerr.GroupSubscribedToTopic, 1},
		{"reader", "unheard", nil, kerr.UnknownTopicOrPartition, 1},
		{"workers", "t", kerr.NonEmptyGroup, nil, 1},
		{"other", "t", nil, nil, 0},
		{"simple", "t", nil, nil, 0},
	} {
		top, code := deleteOffset(t, c, x.group, x.topic, 1)
		if top != codeOf(x.top) || code != codeOf(x.code) {
			t.Errorf("%s, %s: %v, %v", x.group, x.topic, kerr.ErrorForCode(top), kerr.ErrorForCode(code))
		}
		if got := fetched(t, c, x.group); len(got) != x.left {
			t.Errorf("%s, %s: left %v", x.group, x.topic, got)
		}
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.MemberID = 2, "reader", reader
	if a := c.LeaveGroup(t.Context(), leave); a.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(a.ErrorCode))
	}
	if top, code := deleteOffset(t, c, "reader", "t", 1); top != 0 || code != 0 || len(fetched(t, c, "reader")) != 0 {
		t.Errorf("after the reader left: %v, %v", kerr.ErrorForCode(top), kerr.ErrorForCode(code))
	}
}

// The group's refusal comes before that of large metadata, which is refused alone.
func TestLargeMetadata(t *testing.T) {
	h := newHouse(t, testpg.URL(t))
	c := h.start(t, 1, func(cfg *Config) { cfg.OffsetMetadataMax = 4 })
	c.Apply(h.assign(t))
	id, generation := joinAlone(t, c, "g")
	commit := func(generation int32, text string) int16 {
		r := commitRequest("g", id, generation, 0, 1)
		r.Topics[0].Partitions[0].Metadata = &text
		return commitCode(c.OffsetCommit(t.Context(), r))
	}
	for _, x := range []struct {
		generation int32
		text       string
		want       *kerr.Error
	}{
		{generation, "äöüß", nil}, // 4 characters in 8 bytes
		{generation, "five!", kerr.OffsetMetadataTooLarge},
		{generation + 1, "five!", kerr.IllegalGeneration},
	} {
		if code := commit(x.generation, x.text); code != codeOf(x.want) {
			t.Errorf("%d %q: %v", x.generation, x.text, kerr.ErrorForCode(code))
		}
	}
}
