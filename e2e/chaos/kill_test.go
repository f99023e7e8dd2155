//go:build e2e

package chaos

import (
	"context"
	"flag"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/historycheck"
	"varve/internal/testcluster"
)

var (
	kills   = flag.Int("kills", 5, "how often the broker is killed")
	seed    = flag.Uint64("seed", 0, "seed of the random choices; 0 takes the clock's")
	against = flag.String("against", "varve", "varve or kafka")
)

func TestMain(m *testing.M) { testcluster.Main(m) }

const partitions = 6

// TestNothingAcknowledgedIsLostOrDoubled kills the broker at random moments while producers write, and reads everything.
func TestNothingAcknowledgedIsLostOrDoubled(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	b := start(t)
	configs := map[string]*string{"segment.bytes": text("1048576")}
	if *against == "varve" { // sealed segments move to the bucket and leave the disk meanwhile
		configs["local.retention.ms"] = text("1000")
	}
	makeTopic(t, b.Addr, configs)

	h := historycheck.New()
	load, err := historycheck.StartLoad(h, historycheck.LoadConfig{Addr: b.Addr, Topic: "chaos", Partitions: partitions,
		Producers: 3, PerSecond: 4000, Size: 300, Seed: *seed, Prefix: "p"})
	if err != nil {
		t.Fatal(err)
	}
	follower := historycheck.NewReader(h, b.Addr, "chaos")
	for i := range *kills {
		alive := time.Duration(200+random.IntN(1800)) * time.Millisecond
		before := h.AckedCount()
		time.Sleep(alive) //lint:allow test-sleep the moment of the kill is the experiment
		postgres := b.PostgresPid()
		b.Kill(t)
		if postgres != 0 && random.IntN(5) == 0 { // the machine's whole crash, as far as processes go
			_ = syscall.Kill(postgres, syscall.SIGKILL)
		}
		down := time.Now()
		b.Start(t)
		t.Logf("kill %d after %v: back in %v, %d records acknowledged since the last", i+1, alive, time.Since(down).Round(time.Millisecond), h.AckedCount()-before)
		read(t, h, follower)
	}
	if err := load.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	read(t, h, follower)
	n := read(t, h, historycheck.NewReader(h, b.Addr, "chaos"))
	t.Logf("%d kills, %d records acknowledged, %d read", *kills, h.AckedCount(), n)
	if int64(n) != h.AckedCount() {
		t.Errorf("%d records acknowledged, %d read: the producers had an answer for everything they sent", h.AckedCount(), n)
	}
}

func start(t *testing.T) *testcluster.Broker {
	t.Helper()
	if *against == "kafka" {
		return testcluster.StartKafka(t, t.TempDir())
	}
	return testcluster.StartDev(t, t.TempDir())
}

// read goes on to the end and reports every broken rule.
func read(t *testing.T, h *historycheck.History, r *historycheck.Reader) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := r.ReadToEnd(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, v := range h.Violations() {
		t.Error(v)
	}
	if t.Failed() {
		t.FailNow()
	}
	return n
}

func text(s string) *string { return &s }

func makeTopic(t *testing.T, addr string, configs map[string]*string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, configs, "chaos"); err != nil {
		t.Fatal(err)
	}
}
