//go:build e2e

package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/historycheck"
	"varve/internal/testcluster"
	"varve/internal/testminio"
)

var (
	seed   = flag.Uint64("seed", 0, "seed of the random choices; 0 takes the clock's")
	rounds = flag.Int("rounds", 1, "how often each fault is repeated")
	minio  = flag.Bool("minio", false, "keep the bucket in MinIO instead of a directory")
	logs   = flag.Bool("logs", false, "print what the brokers said, whatever the outcome")
	long   = flag.Duration("long", 0, "repeat each fault for this time, with longer pauses and outages")
)

const (
	topic      = "faults"
	partitions = 6
	// warmUp is enough for every partition to have sealed segments.
	warmUp = 3 * time.Second
	// isrWait is how long a cluster may take to have every replica in sync again, by itself.
	isrWait = 30 * time.Second
	// ackWait is how long it may take until every partition acknowledges again after a fault, while enough replicas are there.
	ackWait = 30 * time.Second
)

// A scene is a cluster under load, and what its clients saw.
type scene struct {
	*testcluster.Cluster
	t       *testing.T
	random  *rand.Rand
	history *historycheck.History
	load    *historycheck.Load
	group   *historycheck.Group
	reader  *historycheck.Reader
	admin   *kgo.Client
	excused string // part of log lines that this fault brings about; empty: none
}

// begin starts a cluster, a topic with small segments that are uploaded while they are written, producers, and a group.
func begin(t *testing.T, brokers int, options ...testcluster.ClusterOption) *scene {
	t.Helper()
	s := stage(t, brokers, options...)
	s.createTopic(nil)
	s.startLoad("p")
	var err error
	if s.group, err = historycheck.StartGroup(s.history, s.Bootstrap(), topic, "readers"); err != nil {
		t.Fatal(err)
	}
	s.awaitAcks("before the fault")
	s.pass(warmUp)
	return s
}

// stage is a cluster without a topic.
func stage(t *testing.T, brokers int, options ...testcluster.ClusterOption) *scene {
	t.Helper()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	s := &scene{t: t, random: rand.New(rand.NewPCG(*seed, named(t.Name()))), history: historycheck.New()}
	if *minio {
		server := testminio.Start(t)
		server.Bucket(t, "cluster")
		options = append(options, testcluster.MinIO(server, "cluster"))
	}
	s.Cluster = testcluster.StartCluster(t, t.TempDir(), brokers, options...)
	s.reader = historycheck.NewReader(s.history, s.Bootstrap(), topic)
	s.admin = connect(t, s.Bootstrap())
	t.Cleanup(func() {
		if t.Failed() { // perhaps before anybody looked
			for _, v := range s.history.Violations() {
				t.Error(v)
			}
		}
		for id, b := range s.Brokers() {
			if *logs {
				t.Logf("broker %d:\n%s", id+1, b.LogText(t))
			}
		}
	})
	return s
}

// named makes a number of a test's name, so that each test chooses for itself.
func named(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it cannot fail
	return h.Sum64()
}

// createTopic makes the topic. Half of the runs keep little on the local disks, by the seed.
func (s *scene) createTopic(configs map[string]string) {
	s.t.Helper()
	set := map[string]string{"segment.bytes": "1048576"}
	if s.random.IntN(2) == 0 {
		set["local.retention.ms"] = "2000"
	}
	maps.Copy(set, configs)
	pointers := map[string]*string{}
	for name, value := range set {
		pointers[name] = &value
	}
	testcluster.Eventually(s.t, wait, func() error {
		if live := len(s.metadata().Brokers); live != len(s.Brokers()) {
			return fmt.Errorf("%d brokers live", live)
		}
		return nil
	})
	if _, err := kadm.NewClient(s.admin).CreateTopic(s.t.Context(), partitions, 3, pointers, topic); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("topic configuration %v", set)
	s.awaitISR(3)
}

func (s *scene) startLoad(prefix string) {
	s.t.Helper()
	var err error
	s.load, err = historycheck.StartLoad(s.history, historycheck.LoadConfig{Addr: s.Bootstrap(), Topic: topic, Partitions: partitions,
		Producers: 3, PerSecond: 3000, Size: 1000, Seed: *seed, Prefix: prefix})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.load.Stop(0) }) // after Stop, no effect
}

// perform does the fault as often as asked, and after each time waits until all is well and reads on.
func (s *scene) perform(fault func(round int)) {
	s.t.Helper()
	begun := time.Now()
	for round := range 1_000_000 {
		if round >= *rounds && time.Since(begun) >= *long {
			break
		}
		fault(round)
		s.heal()
		s.read(s.reader)
	}
}

// longForm picks the duration of the short or of the long form.
func longForm(short, longer time.Duration) time.Duration {
	if *long > 0 {
		return longer
	}
	return short
}

// pass lets the load run for a while.
func (s *scene) pass(d time.Duration) {
	time.Sleep(d) //lint:allow test-sleep how long a fault lasts is the experiment
}

// heal waits until every replica is in sync by itself, and every partition acknowledges.
func (s *scene) heal() {
	s.t.Helper()
	begun := time.Now()
	s.awaitISR(3)
	s.awaitAgreement()
	s.t.Logf("full ISR %v after the fault", time.Since(begun).Round(10*time.Millisecond))
	s.awaitAcks("after the fault")
}

// awaitISR waits until each partition has a leader and n replicas in sync.
func (s *scene) awaitISR(n int) {
	s.t.Helper()
	s.await(isrWait, func(p kmsg.MetadataResponseTopicPartition) error {
		if p.Leader < 0 || len(p.ISR) != n {
			return fmt.Errorf("%s-%d: leader %d, ISR %v of %v", topic, p.Partition, p.Leader, p.ISR, p.Replicas)
		}
		return nil
	})
}

// awaitAgreement waits until every broker knows who leads: one that was cut off from Postgres goes on showing readers what it had, until it knows better.
func (s *scene) awaitAgreement() {
	s.t.Helper()
	testcluster.Eventually(s.t, isrWait, func() error {
		want := ""
		for i := range s.Brokers() {
			m, err := s.metadataOf(i + 1)
			if err != nil {
				return fmt.Errorf("metadata of broker %d: %w", i+1, err)
			}
			have := ""
			for _, t := range m.Topics {
				slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
				for _, p := range t.Partitions {
					have += fmt.Sprintf("%d: leader %d in epoch %d\n", p.Partition, p.Leader, p.LeaderEpoch)
				}
			}
			if want == "" {
				want = have
			}
			if have != want {
				return fmt.Errorf("broker 1 says\n%s, broker %d says\n%s", want, i+1, have)
			}
		}
		return nil
	})
}

// metadataOf asks one broker.
func (s *scene) metadataOf(id int) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	m, err := s.admin.Broker(id).Request(ctx, metadataRequest())
	if err != nil {
		return nil, err
	}
	return m.(*kmsg.MetadataResponse), nil
}

// await waits until ok is content with every partition.
func (s *scene) await(within time.Duration, ok func(kmsg.MetadataResponseTopicPartition) error) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			_, text := status(s.t, "--url", s.Postgres.URL())
			s.t.Logf("varve cluster status:\n%s", text)
		}
	}()
	testcluster.Eventually(s.t, within, func() error {
		m := s.metadata()
		if len(m.Topics) != 1 || len(m.Topics[0].Partitions) != partitions {
			return fmt.Errorf("metadata without the topic's partitions: %+v", m.Topics)
		}
		var errs []error
		for _, p := range m.Topics[0].Partitions {
			errs = append(errs, ok(p))
		}
		return errors.Join(errs...)
	})
}

func metadataRequest() *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	r.Topics = append(r.Topics, t)
	return r
}

// metadata asks a broker that answers, without a cache.
func (s *scene) metadata() *kmsg.MetadataResponse {
	r := metadataRequest()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	m, err := r.RequestWith(ctx, s.admin)
	if err != nil {
		return &kmsg.MetadataResponse{}
	}
	return m
}

// leaders are the partitions that each broker leads.
func (s *scene) leaders() map[int][]int32 {
	s.t.Helper()
	led := map[int][]int32{}
	for _, t := range s.metadata().Topics {
		for _, p := range t.Partitions {
			led[int(p.Leader)] = append(led[int(p.Leader)], p.Partition)
		}
	}
	return led
}

// aLeader is a broker that leads partitions, by the seed, and those partitions.
func (s *scene) aLeader() (id int, led []int32) {
	s.t.Helper()
	all := s.leaders()
	delete(all, -1)
	if len(all) == 0 {
		s.t.Fatal("no partition has a leader")
	}
	ids := slices.Sorted(maps.Keys(all))
	id = ids[s.random.IntN(len(ids))]
	return id, all[id]
}

// controller is the broker that is the controller.
func (s *scene) controller() int {
	s.t.Helper()
	id := 0
	testcluster.Eventually(s.t, wait, func() error {
		if id = int(s.metadata().ControllerID); id < 1 {
			return fmt.Errorf("the controller is %d", id)
		}
		return nil
	})
	return id
}

// awaitAcks waits until every partition acknowledges what was sent after now. Silences go on from the last Mark.
func (s *scene) awaitAcks(when string) {
	s.t.Helper()
	s.pass(100 * time.Millisecond) // acknowledgements that are under way say nothing
	before := s.history.AckedSince()
	testcluster.Eventually(s.t, ackWait, func() error {
		since := s.history.AckedSince()
		for p := range int32(partitions) {
			if since[p] < before[p]+2 {
				return fmt.Errorf("%s: %s-%d has no new acknowledgement", when, topic, p)
			}
		}
		return nil
	})
}

// silences prints the longest time without an acknowledgement since the last Mark, of the partitions given.
func (s *scene) silences(what string, of []int32) {
	s.t.Helper()
	all := s.history.Silences()
	var times []time.Duration
	for _, p := range of {
		times = append(times, all[p])
	}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	s.t.Logf("%s: time until the next acknowledgement of %d partitions: median %v, max %v", what, len(times),
		times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
}

// allPartitions are their numbers.
func allPartitions() (all []int32) {
	for p := range int32(partitions) {
		all = append(all, p)
	}
	return all
}

// read goes on to the end and reports every broken rule.
func (s *scene) read(r *historycheck.Reader) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	n, err := r.ReadToEnd(ctx)
	if err != nil {
		s.t.Error(err)
	}
	s.judge()
	return n
}

// judge ends the test when a rule was broken.
func (s *scene) judge() {
	s.t.Helper()
	for _, v := range s.history.Violations() {
		s.t.Error(v)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// end stops the load, reads everything again, by assignment and by the group, and holds the replicas against each other.
func (s *scene) end() {
	s.t.Helper()
	if err := s.load.Stop(wait); err != nil {
		s.t.Error(err)
	}
	n := s.read(historycheck.NewReader(s.history, s.Bootstrap(), topic))
	if int64(n) != s.history.AckedCount() {
		s.t.Errorf("%d records acknowledged, %d read: the producers had an answer for everything they sent", s.history.AckedCount(), n)
	}
	if s.group != nil {
		if err := s.group.Stop(wait); err != nil {
			s.t.Error(err)
		}
	}
	s.t.Logf("%d records acknowledged, %d read", s.history.AckedCount(), n)
	s.compareReplicas()
	s.judgeLogs()
	objects, err := filepath.Glob(filepath.Join(s.Dir, "bucket", "*", "*"))
	if err != nil || len(objects) == 0 && !*minio {
		s.t.Errorf("nothing was uploaded: %v", err)
	}
	s.judge()
}

// neverSaid are parts of log lines that no fault of this package excuses.
var neverSaid = []string{`"level":"ERROR"`, "a leader's records were not appended", "panic:"}

// judgeLogs looks for them in what the brokers said.
func (s *scene) judgeLogs() {
	s.t.Helper()
	for i, b := range s.Brokers() {
		for line := range strings.Lines(b.LogText(s.t)) {
			for _, bad := range neverSaid {
				if strings.Contains(line, bad) && (s.excused == "" || !strings.Contains(line, s.excused)) {
					s.t.Errorf("broker %d said: %s", i+1, line)
				}
			}
		}
	}
}
