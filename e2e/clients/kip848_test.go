//go:build e2e

package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
)

const groupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"

// newProtocol are the clients that speak the consumer group protocol (KIP-848), as members that read n values, commit and leave.
var newProtocol = []struct {
	name  string
	group func(t *testing.T, addr, topic, group string, n int) []string
}{
	{"java", func(t *testing.T, addr, topic, group string, n int) []string {
		return lines(java(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", addr, "--topic", topic, "--group", group,
			"--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "45000", "--command-property", "group.protocol=consumer"))
	}},
	{"java by pattern", func(t *testing.T, addr, topic, group string, n int) []string {
		return lines(java(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", addr, "--include", topic[:len(topic)-1]+".", "--group", group,
			"--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "45000", "--command-property", "group.protocol=consumer"))
	}},
	{"python", func(t *testing.T, addr, topic, group string, n int) []string {
		return lines(python(t, "", "group", addr, topic, group, fmt.Sprint(n), "consumer"))
	}},
	{"python by pattern", func(t *testing.T, addr, topic, group string, n int) []string {
		return lines(python(t, "", "group", addr, "^"+topic+"$", group, fmt.Sprint(n), "consumer"))
	}},
	{"franz-go", func(t *testing.T, addr, topic, group string, n int) []string {
		cl := franz(t, addr, append(serverSide(group), kgo.ConsumeTopics(topic))...)
		defer cl.Close()
		records := poll(t, cl, n)
		if err := cl.CommitRecords(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, r := range records {
			values = append(values, string(r.Value))
		}
		return values
	}},
}

func serverSide(group string) []kgo.Opt {
	return []kgo.Opt{kgo.ConsumerGroup(group), kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
}

// TestConsumerProtocol has clients of the consumer group protocol read a topic one after another, as one group: each goes on where the
// former one committed. Then a client of the classic protocol takes the empty group over, and Kafka's tools see both kinds.
func TestConsumerProtocol(t *testing.T) {
	b := start(t)
	makeTopic(t, b.Addr, "modern", 3, nil)
	want := values(0, 20*len(newProtocol)+20, "modern")
	franzProduce(t, b.Addr, "modern", "none", want)
	var got []string
	for _, c := range newProtocol {
		got = append(got, c.group(t, b.Addr, "modern", "moderns", 20)...)
	}
	run := func(args ...string) string {
		return java(t, "", groupCommand, append([]string{"--bootstrap-server", b.Addr}, args...)...)
	}
	if out := run("--list", "--type", "consumer"); !strings.Contains(out, "moderns") {
		t.Errorf("the group is not of type consumer:\n%s", out)
	}
	has(t, run("--describe", "--group", "moderns", "--state"), "moderns", "Empty")
	lag(t, run("--describe", "--group", "moderns"))
	got = append(got, franzGroup(t, b.Addr, "modern", "moderns", 20)...)
	equal(t, want, got)
	if out := run("--list", "--type", "classic"); !strings.Contains(out, "moderns") {
		t.Errorf("the group is not of type classic:\n%s", out)
	}
	has(t, run("--delete", "--group", "moderns"), "successful")
}

// TestConsumerProtocolMembers has two members share a topic, shows them to Kafka's tool, and has one of them leave.
func TestConsumerProtocolMembers(t *testing.T) {
	b := start(t)
	makeTopic(t, b.Addr, "shared", 4, nil)
	one, two := joinModern(t, b.Addr, "one"), joinModern(t, b.Addr, "two")
	testcluster.Eventually(t, 60*time.Second, func() error {
		if a, b := one.owned(), two.owned(); a != 2 || b != 2 {
			return fmt.Errorf("the members own %d and %d partitions", a, b)
		}
		return nil
	})
	out := java(t, "", groupCommand, "--bootstrap-server", b.Addr, "--describe", "--group", "modern-sharers", "--members", "--verbose")
	has(t, out, "one", "two", "shared:")
	has(t, java(t, "", groupCommand, "--bootstrap-server", b.Addr, "--describe", "--group", "modern-sharers", "--state"), "Stable", "uniform")
	want := values(0, 200, "shared")
	franzProduce(t, b.Addr, "shared", "none", want)
	testcluster.Eventually(t, 30*time.Second, func() error {
		if n := len(one.values()) + len(two.values()); n < len(want) {
			return fmt.Errorf("%d of %d records", n, len(want))
		}
		return nil
	})
	equal(t, want, append(one.values(), two.values()...))

	// The coordinator comes back: it knows the members, and nobody has to join again.
	before := describeMembers(t, b.Addr)
	b.Stop(t)
	b.Start(t)
	more := values(200, 240, "shared")
	franzProduce(t, b.Addr, "shared", "none", more)
	testcluster.Eventually(t, 60*time.Second, func() error {
		if n := len(one.values()) + len(two.values()); n < len(want)+len(more) {
			return fmt.Errorf("%d of %d records", n, len(want)+len(more))
		}
		return nil
	})
	if after := describeMembers(t, b.Addr); after != before {
		t.Errorf("before the restart %s\nafter it          %s", before, after)
	}
	two.leave(t)
	testcluster.Eventually(t, 60*time.Second, func() error {
		if n := one.owned(); n != 4 {
			return fmt.Errorf("the member left owns %d partitions", n)
		}
		return nil
	})
	one.leave(t)
}

// describeMembers shows the members with their epochs and assignments.
func describeMembers(t *testing.T, addr string) string {
	t.Helper()
	cl := franz(t, addr)
	defer cl.Close()
	groups, err := kadm.NewClient(cl).DescribeConsumerGroups(t.Context(), "modern-sharers")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range groups["modern-sharers"].Members {
		out = append(out, fmt.Sprintf("%s: %s at epoch %d has %v", m.ClientID, m.MemberID, m.MemberEpoch, m.Assignment))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func joinModern(t *testing.T, addr, name string) *member {
	t.Helper()
	m := &member{done: make(chan struct{})}
	m.client = franz(t, addr, append(serverSide("modern-sharers"), kgo.ClientID(name), kgo.ConsumeTopics("shared"), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(len(p["shared"])) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(-len(p["shared"])) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(-len(p["shared"])) }))...)
	go m.work()
	t.Cleanup(func() { m.client.CloseAllowingRebalance(); <-m.done })
	return m
}
