//go:build e2e

package cluster

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

// TestDevBrokers: `varve dev --brokers 3` is one cluster; a killed broker ends nothing else, comes back by the printed command, and all
// of it ends together.
func TestDevBrokers(t *testing.T) {
	dev := testcluster.StartDev(t, t.TempDir(), "--brokers", "3", "--topic", "orders:4")
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(dev.Addr, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	alive := func(want int) func() error {
		return func() error {
			r := kmsg.NewPtrMetadataRequest()
			name := "orders"
			r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
			m, err := r.RequestWith(t.Context(), cl)
			switch {
			case err != nil:
				return err
			case len(m.Brokers) != want:
				return fmt.Errorf("%d brokers, want %d", len(m.Brokers), want)
			case len(m.Topics) != 1 || len(m.Topics[0].Partitions) != 4 || len(m.Topics[0].Partitions[0].Replicas) != 3:
				return fmt.Errorf("topics %+v", m.Topics)
			}
			return nil
		}
	}
	testcluster.Eventually(t, wait, alive(3))
	text := dev.LogText(t)
	pid, err := strconv.Atoi(word(t, text, "broker id=2 pid="))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, wait, alive(2))
	said := "broker 2 ended (signal: killed), the others go on; restart: "
	testcluster.Eventually(t, wait, func() error {
		if !strings.Contains(dev.LogText(t), said) {
			return fmt.Errorf("dev did not say %q", said)
		}
		return nil
	})
	_, restart, _ := strings.Cut(dev.LogText(t), said)
	restart, _, _ = strings.Cut(restart, "\n")
	again := exec.Command("sh", "-c", "exec "+restart)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, wait, alive(3))
	if err := again.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(); err != nil {
		t.Errorf("the broker that was started again ended with %v", err)
	}
	begun := time.Now()
	dev.Stop(t)
	t.Logf("stopped in %v", time.Since(begun).Round(time.Millisecond))
	for id := range 3 {
		pid, err := strconv.Atoi(word(t, text, fmt.Sprintf("broker id=%d pid=", id+1)))
		if err != nil || syscall.Kill(pid, 0) == nil {
			t.Errorf("broker %d (pid %d, %v) outlived dev", id+1, pid, err)
		}
	}
	if pid := dev.PostgresPid(); pid != 0 {
		t.Errorf("postgres %d outlived dev", pid)
	}
}

// word is the rest of the word that begins with a prefix.
func word(t *testing.T, text, prefix string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, prefix)
	if !ok {
		t.Fatalf("no %q in what dev said:\n%s", prefix, text)
	}
	rest, _, _ = strings.Cut(rest, " ")
	return rest
}
