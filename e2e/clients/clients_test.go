//go:build e2e

package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// values are n lines that compress well and tell who wrote them: "key-3 kcat zstd ...".
func values(from, to int, words ...string) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("key-%d %s %d %s", i%7, strings.Join(words, " "), i, strings.Repeat("varve ", 40)))
	}
	return all
}

// TestEveryCodecIsReadByEveryClient lets each client write with each codec into one topic, and each read all of it.
func TestEveryCodecIsReadByEveryClient(t *testing.T) {
	b := start(t)
	makeTopic(t, b.Addr, "codecs", 3, nil)
	var want []string
	for _, c := range clients() {
		for _, codec := range codecs {
			v := values(0, 25, c.name, codec)
			c.produce(t, b.Addr, "codecs", codec, v)
			want = append(want, v...)
		}
	}
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) { equal(t, want, c.read(t, b.Addr, "codecs", len(want))) })
	}
	t.Run("batches are compressed as asked", func(t *testing.T) {
		cl := franz(t, b.Addr, kgo.ConsumeTopics("codecs"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		for _, r := range poll(t, cl, len(want)) {
			words := strings.Fields(string(r.Value))
			if got := codecs[r.Attrs.CompressionType()]; got != words[2] {
				t.Errorf("%s wrote %s, the log has %s", words[1], words[2], got)
			}
		}
	})
}

// TestGroupsResumeAfterARestart consumes a part of a topic in a group of each client, restarts the broker and goes on.
func TestGroupsResumeAfterARestart(t *testing.T) {
	b := start(t)
	read := map[string][]string{}
	for _, c := range clients() {
		topic := "orders-" + c.name
		makeTopic(t, b.Addr, topic, 3, nil)
		c.produce(t, b.Addr, topic, "none", values(0, 30, c.name))
		read[c.name] = c.group(t, b.Addr, topic, "readers-"+c.name, 20)
	}
	b.Stop(t)
	b.Start(t)
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			topic := "orders-" + c.name
			c.produce(t, b.Addr, topic, "none", values(30, 40, c.name))
			all := append(read[c.name], c.group(t, b.Addr, topic, "readers-"+c.name, 20)...)
			equal(t, values(0, 40, c.name), all)
		})
	}
}

// TestAutoCreation produces to a topic that nobody created.
func TestAutoCreation(t *testing.T) {
	b := start(t)
	for _, c := range clients()[:3] { // franz-go asks for it only with an option
		t.Run(c.name, func(t *testing.T) {
			topic := "unheard-of-" + c.name
			c.produce(t, b.Addr, topic, "none", values(0, 5, c.name))
			equal(t, values(0, 5, c.name), c.read(t, b.Addr, topic, 5))
		})
	}
}

// TestTwoMembersShareATopic has two members, checks that each gets partitions, and that the one left gets all.
func TestTwoMembersShareATopic(t *testing.T) {
	b := start(t)
	makeTopic(t, b.Addr, "shared", 4, nil)
	first, second := join(t, b.Addr, "one"), join(t, b.Addr, "two")
	testcluster.Eventually(t, 30*time.Second, func() error {
		if a, b := first.owned(), second.owned(); a != 2 || b != 2 {
			return fmt.Errorf("the members own %d and %d partitions", a, b)
		}
		return nil
	})
	want := values(0, 200, "shared")
	franzProduce(t, b.Addr, "shared", "none", want)
	testcluster.Eventually(t, 30*time.Second, func() error {
		if n := len(first.values()) + len(second.values()); n < len(want) {
			return fmt.Errorf("%d of %d records", n, len(want))
		}
		return nil
	})
	equal(t, want, append(first.values(), second.values()...))
	second.leave(t)
	testcluster.Eventually(t, 30*time.Second, func() error {
		if n := first.owned(); n != 4 {
			return fmt.Errorf("the member left owns %d partitions", n)
		}
		return nil
	})
	more := values(200, 240, "shared")
	franzProduce(t, b.Addr, "shared", "none", more)
	testcluster.Eventually(t, 30*time.Second, func() error {
		if n := len(first.values()) + len(second.values()); n < len(want)+len(more) {
			return fmt.Errorf("%d of %d records", n, len(want)+len(more))
		}
		return nil
	})
	equal(t, append(want, more...), append(first.values(), second.values()...))
	first.leave(t)
}

// A member of a group that polls and commits until it leaves.
type member struct {
	client *kgo.Client
	done   chan struct{}
	mu     struct {
		sync.Mutex
		values []string
		owned  int
		err    error
	}
}

func join(t *testing.T, addr, name string) *member {
	t.Helper()
	m := &member{done: make(chan struct{})}
	m.client = franz(t, addr, kgo.ClientID(name), kgo.ConsumeTopics("shared"), kgo.ConsumerGroup("sharers"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(len(p["shared"])) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(-len(p["shared"])) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.own(-len(p["shared"])) }))
	go m.work()
	t.Cleanup(func() { m.client.CloseAllowingRebalance(); <-m.done })
	return m
}

// work processes and commits before a rebalance may take the partitions away: no record is seen twice.
func (m *member) work() {
	defer close(m.done)
	for {
		fetches := m.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		err := m.client.CommitUncommittedOffsets(context.Background())
		m.mu.Lock()
		for _, r := range fetches.Records() {
			m.mu.values = append(m.mu.values, string(r.Value))
		}
		m.mu.err = err
		m.mu.Unlock()
		m.client.AllowRebalance()
	}
}

func (m *member) own(more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.owned += more
}

func (m *member) owned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.owned
}

func (m *member) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.values)
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	m.client.CloseAllowingRebalance()
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.err != nil {
		t.Errorf("the last commit: %v", m.mu.err)
	}
}

// equal compares two sets of values.
func equal(t *testing.T, want, got []string) {
	t.Helper()
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if slices.Equal(want, got) {
		return
	}
	count := map[string]int{}
	for _, v := range want {
		count[v]++
	}
	for _, v := range got {
		count[v]--
	}
	for v, n := range count {
		if n > 0 {
			t.Errorf("missing %d times: %q", n, v)
		} else if n < 0 {
			t.Errorf("%d times too often: %q", -n, v)
		}
	}
}
