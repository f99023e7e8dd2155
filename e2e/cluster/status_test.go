//go:build e2e

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"varve/internal/testcluster"
)

// TestStatus: `varve cluster status` tells a healthy cluster from one with a dead broker, says why, and says when it cannot tell.
func TestStatus(t *testing.T) {
	c := testcluster.StartCluster(t, t.TempDir(), 3)
	if _, err := kadm.NewClient(connect(t, c.Bootstrap())).CreateTopic(t.Context(), 3, 3, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(c.Broker(1).Dir, "varve.properties")
	want := func(code int, text string, args ...string) {
		t.Helper()
		testcluster.Eventually(t, wait, func() error {
			have, out := status(t, args...)
			if have != code || !strings.Contains(out, text) {
				return fmt.Errorf("varve cluster status %v: exit code %d, want %d with %q\n%s", args, have, code, text, out)
			}
			return nil
		})
	}
	want(0, "\nhealthy\n", "--config", config)
	want(0, "partitions: 3, leaderless 0", "--url", c.Postgres.URL())
	want(0, "\nhealthy\n", "--bootstrap", c.Address(1))
	if _, out := status(t, "--bootstrap", c.Address(1)); strings.Contains(out, "cluster 00000000-") || strings.Contains(out, "version") {
		t.Errorf("through a broker: the cluster's id is not told, or a version that nobody knows:\n%s", out)
	}
	c.Broker(2).Kill(t)
	want(1, "broker 2 is fenced since ", "--config", config)
	want(1, "broker 2 is not registered: start it", "--bootstrap", c.Address(1))
	var report struct {
		Healthy         bool
		UnderReplicated int
	}
	if _, out := status(t, "--config", config, "--json"); json.NewDecoder(strings.NewReader(out)).Decode(&report) != nil || report.Healthy || report.UnderReplicated != 3 {
		t.Errorf("as JSON:\n%s", out)
	}
	c.Broker(2).Start(t)
	want(0, "\nhealthy\n", "--config", config)
	c.StopAll(t)
	want(1, " is stopped: start it", "--config", config)
	c.Postgres.Stop()
	want(2, "varve.metadata.url: ", "--config", config)
	want(2, "nowhere to look")
	want(2, "give one of them", "--config", config, "--bootstrap", c.Address(1))
}

// status runs the command and returns its exit code and all that it said.
func status(t *testing.T, args ...string) (int, string) {
	t.Helper()
	out, err := exec.Command(testcluster.Binary(t), append([]string{"cluster", "status"}, args...)...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	} else if err != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}
