//go:build e2e

package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/historycheck"
	"varve/internal/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }

const (
	topic      = "history"
	partitions = 3
)

// A scene is a broker with a topic whose sealed segments are all in the bucket, and what was seen there.
type scene struct {
	broker  *testcluster.Broker
	history *historycheck.History
	old     *producer                    // idempotent, with its last batches in the tiered part of partition 0
	oldSeq  int32                        // its next sequence number
	oldAt   []int64                      // the offsets of its batches
	tiered  [partitions]int64            // where the tiered part ends
	ends    [partitions]int64            // where the log ended
	batches [partitions]map[int64]uint32 // the batches of the tiered part
}

// setUp writes until every partition has sealed segments, and waits until they are live in the bucket.
func setUp(t *testing.T, unclean string) *scene {
	t.Helper()
	s := &scene{broker: testcluster.StartDev(t, t.TempDir()), history: historycheck.New()}
	cl := connect(t, s.broker.Addr)
	configs := map[string]*string{}
	for key, value := range map[string]string{"segment.bytes": "1048576", "unclean.leader.election.enable": unclean} {
		configs[key] = &value
	}
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
	s.load(t, "before", 2*time.Second) // something below the old producer's batches
	s.old = newProducer(t, cl, topic, 0)
	for ; s.oldSeq < 7; s.oldSeq++ {
		offset, err := s.old.send(t, cl, s.oldSeq)
		if err != nil {
			t.Fatalf("sequence %d: %v", s.oldSeq, err)
		}
		s.oldAt = append(s.oldAt, offset)
	}
	s.load(t, "after", 4*time.Second)
	for p := range int32(partitions) {
		s.awaitTiered(t, cl, p)
		s.batches[p] = batches(t, cl, topic, p, s.tiered[p])
	}
	if last := s.oldAt[len(s.oldAt)-1]; s.tiered[0] <= last {
		t.Fatalf("the old producer's last batch at %d is not below the tiered end %d", last, s.tiered[0])
	}
	return s
}

// load produces for a while, and ends when all is acknowledged.
func (s *scene) load(t *testing.T, name string, during time.Duration) {
	t.Helper()
	load, err := historycheck.StartLoad(s.history, historycheck.LoadConfig{Addr: s.broker.Addr, Topic: topic, Partitions: partitions,
		Producers: 2, PerSecond: 6000, Size: 400, Seed: 1, Prefix: name})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(during) //lint:allow test-sleep how much is written, not a synchronization
	if err := load.Stop(wait); err != nil {
		t.Fatal(err)
	}
}

// awaitTiered waits until the tiered part ends where the active segment begins.
func (s *scene) awaitTiered(t *testing.T, cl *kgo.Client, p int32) {
	t.Helper()
	segments := s.broker.Segments(t, topic, p)
	active := segments[len(segments)-1]
	if active == 0 {
		t.Fatalf("%s-%d has no sealed segment", topic, p)
	}
	testcluster.Eventually(t, wait, func() error {
		last, err := listOffset(t, cl, topic, p, latestTiered)
		if err == nil && last+1 != active {
			err = fmt.Errorf("%s-%d is tiered up to %d, its active segment begins at %d", topic, p, last, active)
		}
		return err
	})
	s.tiered[p] = active
	end, err := listOffset(t, cl, topic, p, latest)
	if err != nil {
		t.Fatal(err)
	}
	s.ends[p] = end
}

// loseDisk removes the log directory of the stopped broker.
func (s *scene) loseDisk(t *testing.T) {
	t.Helper()
	dir := s.broker.LogDir(t)
	s.broker.Stop(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		s.history.Forget(p, s.tiered[p])
	}
	s.broker.Start(t)
}

// awaitLed waits until a partition is led.
func awaitLed(t *testing.T, cl *kgo.Client, p int32) {
	t.Helper()
	testcluster.Eventually(t, wait, func() error {
		if l := leader(t, cl, topic, p); l != 1 {
			return fmt.Errorf("%s-%d is led by %d", topic, p, l)
		}
		_, err := listOffset(t, cl, topic, p, latest)
		return err
	})
}

// rebuilt holds the partitions against what they were, and writes on.
func (s *scene) rebuilt(t *testing.T) {
	t.Helper()
	cl := connect(t, s.broker.Addr)
	for p := range int32(partitions) {
		awaitLed(t, cl, p)
		for _, at := range []struct{ timestamp, want int64 }{{earliest, 0}, {latest, s.tiered[p]}, {latestTiered, s.tiered[p] - 1}} {
			if got, err := listOffset(t, cl, topic, p, at.timestamp); err != nil || got != at.want {
				t.Errorf("%s-%d: ListOffsets %d: %d (%v), want %d", topic, p, at.timestamp, got, err, at.want)
			}
		}
		if got := batches(t, cl, topic, p, s.tiered[p]); !maps.Equal(got, s.batches[p]) {
			t.Errorf("%s-%d: %d batches come back, %d were there, or their bytes are others", topic, p, len(got), len(s.batches[p]))
		}
	}
	s.remembers(t, cl)
	s.reportsLoss(t)
	s.load(t, "rebuilt", time.Second)
	next, err := s.old.send(t, cl, s.oldSeq)
	if err != nil {
		t.Errorf("the old producer's next batch: %v", err)
	}
	if next < s.tiered[0] {
		t.Errorf("the old producer's next batch went to offset %d below the end %d", next, s.tiered[0])
	}
}

// remembers sends the old producer's last batch again: it must be found at its old offset, and a gap be refused. Of the batches before it
// nothing is known: Kafka's producer snapshot holds the last one of each producer.
func (s *scene) remembers(t *testing.T, cl *kgo.Client) {
	t.Helper()
	last := s.oldSeq - 1
	if offset, err := s.old.send(t, cl, last); err != nil || offset != s.oldAt[last] {
		t.Errorf("sequence %d again: offset %d (%v), it was %d", last, offset, err, s.oldAt[last])
	}
	if _, err := s.old.send(t, cl, s.oldSeq+3); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("a gap in the sequence: %v, want OUT_OF_ORDER_SEQUENCE_NUMBER", err)
	}
}

// reportsLoss wants the lost tail named in the log and counted in a metric.
func (s *scene) reportsLoss(t *testing.T) {
	t.Helper()
	lost := false
	for p := range partitions {
		lost = lost || s.ends[p] > s.tiered[p]
	}
	if !lost {
		t.Fatal("nothing was only local: the scene tests nothing")
	}
	counted := false
	for line := range strings.SplitSeq(s.broker.Metrics(t), "\n") {
		name, value, _ := strings.Cut(line, " ")
		counted = counted || strings.Contains(name, "lost") && !strings.HasPrefix(line, "#") && value != "0"
	}
	if !counted {
		t.Error("no metric of what was lost counts anything")
	}
	if !strings.Contains(s.broker.LogText(t), "lost") {
		t.Error("the log does not say what was lost")
	}
}

// TestALostDiskWaitsForAnElection: the new directory's partitions are leaderless, not empty; an unclean election rebuilds them.
func TestALostDiskWaitsForAnElection(t *testing.T) {
	s := setUp(t, "false")
	s.loseDisk(t)
	cl := connect(t, s.broker.Addr)
	var all []int32
	for p := range int32(partitions) {
		if l := leader(t, cl, topic, p); l != -1 {
			t.Errorf("%s-%d is led by %d on an empty disk", topic, p, l)
		}
		all = append(all, p)
	}
	elect(t, cl, topic, all...)
	s.rebuilt(t)
	s.broker.Stop(t)
	s.broker.Start(t)
	s.remembersAfterRestart(t)
}

// remembersAfterRestart reads all again from the start.
func (s *scene) remembersAfterRestart(t *testing.T) {
	t.Helper()
	cl := connect(t, s.broker.Addr)
	for p := range int32(partitions) {
		awaitLed(t, cl, p)
		if got := batches(t, cl, topic, p, s.tiered[p]); !maps.Equal(got, s.batches[p]) {
			t.Errorf("%s-%d: after a restart %d batches come back, %d were there, or their bytes are others", topic, p, len(got), len(s.batches[p]))
		}
	}
}

// TestALostDiskRebuildsItself: with unclean.leader.election.enable=true nobody needs to ask.
func TestALostDiskRebuildsItself(t *testing.T) {
	s := setUp(t, "true")
	s.loseDisk(t)
	s.rebuilt(t)
}

// TestALostPartitionIsNotSilentlyEmpty removes one partition's directory: it must not be led with less than the bucket has.
func TestALostPartitionIsNotSilentlyEmpty(t *testing.T) {
	s := setUp(t, "false")
	dir := filepath.Join(s.broker.LogDir(t), topic+"-1")
	s.broker.Stop(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.history.Forget(1, s.tiered[1])
	s.broker.Start(t)
	cl := connect(t, s.broker.Addr)
	for _, p := range []int32{0, 2} {
		awaitLed(t, cl, p)
		if end, err := listOffset(t, cl, topic, p, latest); err != nil || end != s.ends[p] {
			t.Errorf("%s-%d ends at %d (%v), want %d: its directory was not touched", topic, p, end, err, s.ends[p])
		}
	}
	if l := leader(t, cl, topic, 1); l == 1 {
		if end, err := listOffset(t, cl, topic, 1, latest); err == nil && end < s.tiered[1] {
			t.Errorf("%s-1 is led and ends at %d, the bucket has up to %d", topic, end, s.tiered[1])
		}
	}
	elect(t, cl, topic, 1)
	awaitLed(t, cl, 1)
	if got := batches(t, cl, topic, 1, s.tiered[1]); !maps.Equal(got, s.batches[1]) {
		t.Errorf("%s-1: %d batches come back, %d were there, or their bytes are others", topic, len(got), len(s.batches[1]))
	}
}

// TestALocalSegmentThatWentIsReadFromTheBucket trims by local.retention and reads everything.
func TestALocalSegmentThatWentIsReadFromTheBucket(t *testing.T) {
	s := setUp(t, "false")
	cl := connect(t, s.broker.Addr)
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "local.retention.ms", Value: kadm.StringPtr("1")}}
	if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), change, topic); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		testcluster.Eventually(t, wait, func() error {
			if segments := s.broker.Segments(t, topic, p); segments[0] != s.tiered[p] {
				return fmt.Errorf("%s-%d still has local segments %v below %d", topic, p, segments, s.tiered[p])
			}
			return nil
		})
		if got := batches(t, cl, topic, p, s.tiered[p]); !maps.Equal(got, s.batches[p]) {
			t.Errorf("%s-%d: %d batches come from the bucket, %d were there, or their bytes are others", topic, p, len(got), len(s.batches[p]))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	// The old producer's records are no Messages: partition 0 is held against its batches alone.
	if _, err := historycheck.NewReader(s.history, s.broker.Addr, topic).ReadToEnd(ctx); err != nil {
		t.Error(err)
	}
	for _, v := range s.history.Violations() {
		if !strings.HasPrefix(v, "partition 0") {
			t.Error(v)
		}
	}
}
