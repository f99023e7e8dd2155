//go:build e2e

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

// groupTool runs kafka-consumer-groups for one group.
func groupTool(t *testing.T, addr, group string, args ...string) string {
	t.Helper()
	return java(t, "", tools+"consumer.group.ConsumerGroupCommand", append([]string{"--bootstrap-server", addr, "--group", group}, args...)...)
}

// committedOffsets are a group's offsets by partition of a topic.
func committedOffsets(t *testing.T, adm *kadm.Client, group, topic string) map[int32]int64 {
	t.Helper()
	var all kadm.OffsetResponses
	testcluster.Eventually(t, 30*time.Second, func() (err error) { // Kafka's first group has to wait for a coordinator
		all, err = adm.FetchOffsets(t.Context(), group)
		return err
	})
	out := map[int32]int64{}
	all.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic {
			out[o.Partition] = o.At
		}
	})
	return out
}

// TestGroupTools runs Kafka's tools for groups: every way to reset offsets, what they tell of members, and deletion.
func TestGroupTools(t *testing.T) {
	b := start(t)
	makeTopic(t, b.Addr, "read", 2, nil)
	makeTopic(t, b.Addr, "other", 1, nil)
	cl := franz(t, b.Addr, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	adm := kadm.NewClient(cl)
	// Ten records in each partition; the second half is an hour younger than the first.
	old, young := time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	for i := range 10 {
		at := old
		if i >= 5 {
			at = young
		}
		for p := range int32(2) {
			r := &kgo.Record{Topic: "read", Partition: p, Value: []byte("v"), Timestamp: at}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	between := old.Add(30 * time.Minute).UTC().Format("2006-01-02T15:04:05.000")
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte("read,0,2\nread,1,6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := func(zero, one int64) map[int32]int64 { return map[int32]int64{0: zero, 1: one} }
	t.Run("reset-offsets", func(t *testing.T) {
		topic := []string{"--topic", "read"}
		for _, x := range []struct {
			option []string
			want   map[int32]int64
		}{
			{[]string{"--to-latest"}, at(10, 10)},
			{[]string{"--shift-by", "-3"}, at(7, 7)},
			{[]string{"--to-earliest"}, at(0, 0)},
			{[]string{"--to-offset", "4"}, at(4, 4)},
			{[]string{"--to-offset", "99"}, at(10, 10)}, // the tool limits it to the end
			{[]string{"--to-datetime", between}, at(5, 5)},
			{[]string{"--by-duration", "PT3H"}, at(0, 0)},
			{[]string{"--by-duration", "PT90M"}, at(5, 5)},
			{[]string{"--from-file", file}, at(2, 6)},
			{[]string{"--to-current"}, at(2, 6)},
		} {
			before := committedOffsets(t, adm, "resets", "read")
			args := append([]string{"--reset-offsets"}, x.option...)
			if x.option[0] != "--from-file" {
				args = append(args, topic...)
			}
			out := groupTool(t, b.Addr, "resets", append(slices.Clone(args), "--dry-run")...)
			for p, o := range x.want {
				if !slices.ContainsFunc(lines(out), func(l string) bool {
					return slices.Equal(strings.Fields(l), []string{"resets", "read", fmt.Sprint(p), fmt.Sprint(o)})
				}) {
					t.Errorf("%v: no partition %d at %d in:\n%s", x.option, p, o, out)
				}
			}
			if got := committedOffsets(t, adm, "resets", "read"); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Errorf("a dry run of %v changed %v to %v", x.option, before, got)
			}
			groupTool(t, b.Addr, "resets", append(args, "--execute")...)
			if got := committedOffsets(t, adm, "resets", "read"); fmt.Sprint(got) != fmt.Sprint(x.want) {
				t.Errorf("%v: offsets %v, want %v", x.option, got, x.want)
			}
		}
		has(t, groupTool(t, b.Addr, "resets", "--describe", "--state"), "Empty")
	})
	t.Run("members", func(t *testing.T) { toolsOnMembers(t, b, adm) })
	t.Run("delete", func(t *testing.T) {
		groupTool(t, b.Addr, "resets", "--delete-offsets", "--topic", "read:1")
		if got := committedOffsets(t, adm, "resets", "read"); fmt.Sprint(got) != fmt.Sprint(map[int32]int64{0: 2}) {
			t.Errorf("left of the offsets: %v", got)
		}
		has(t, groupTool(t, b.Addr, "resets", "--delete"), "Deletion of requested consumer groups ('resets') was successful.")
		if got := committedOffsets(t, adm, "resets", "read"); len(got) != 0 {
			t.Errorf("offsets of a deleted group: %v", got)
		}
		has(t, java(t, "", tools+"GroupsCommand", "--bootstrap-server", b.Addr, "--list"), "readers")
	})
}

// toolsOnMembers describes a group with a static and a dynamic member, and tries what an active group refuses.
func toolsOnMembers(t *testing.T, b *testcluster.Broker, adm *kadm.Client) {
	reader := func(name string, opts ...kgo.Opt) *kgo.Client {
		cl := franz(t, b.Addr, append(opts, kgo.ClientID(name), kgo.ConsumeTopics("read"), kgo.ConsumerGroup("readers"),
			kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.RangeBalancer()))...)
		t.Cleanup(cl.Close)
		return cl
	}
	one := reader("one", kgo.InstanceID("instance-one"))
	two := reader("two")
	go one.PollFetches(t.Context())
	go two.PollFetches(t.Context())
	testcluster.Eventually(t, 30*time.Second, func() error {
		d, err := adm.DescribeGroups(t.Context(), "readers")
		if err != nil || d["readers"].State != "Stable" || len(d["readers"].Members) != 2 {
			return fmt.Errorf("group %+v, %v", d["readers"], err)
		}
		return nil
	})
	topics, err := adm.ListTopics(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	commitAs(t, two, topics["other"])

	members := groupTool(t, b.Addr, "readers", "--describe", "--members", "--verbose")
	has(t, members, "instance-one", "one-", "two-", "/127.0.0.1", "read:0", "read:1")
	has(t, groupTool(t, b.Addr, "readers", "--describe", "--state"), "range", "Stable", b.Addr)
	has(t, groupTool(t, b.Addr, "readers", "--describe", "--offsets"), "read", "two-")
	list := func(args ...string) string {
		return java(t, "", tools+"GroupsCommand", append([]string{"--bootstrap-server", b.Addr, "--list"}, args...)...)
	}
	has(t, list("--group-type", "classic"), "readers", "Classic", "consumer")
	has(t, list("--consumer"), "readers", "resets")
	if out := java(t, "", tools+"consumer.group.ConsumerGroupCommand", "--bootstrap-server", b.Addr, "--list", "--state", "stable"); !strings.Contains(out, "readers") || strings.Contains(out, "resets") {
		t.Errorf("stable groups:\n%s", out)
	}
	refused := func(what string, args ...string) {
		t.Helper()
		has(t, groupTool(t, b.Addr, "readers", args...), what)
	}
	refused("GroupNotEmptyException", "--delete")
	refused("GroupSubscribedToTopicException", "--delete-offsets", "--topic", "read:0")
	refused("can only be reset if the group 'readers' is inactive", "--reset-offsets", "--to-earliest", "--topic", "read", "--execute")
	groupTool(t, b.Addr, "readers", "--delete-offsets", "--topic", "other:0") // nobody reads it
	if got := committedOffsets(t, adm, "readers", "other"); len(got) != 0 {
		t.Errorf("the offset of a topic that nobody reads is still there: %v", got)
	}
}

// commitAs commits offset 0 of partition 0 of a topic as a member of the client's group.
func commitAs(t *testing.T, cl *kgo.Client, topic kadm.TopicDetail) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = "readers"
	req.MemberID, req.Generation = cl.GroupMetadata()
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = topic.Topic, topic.ID, []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
}
