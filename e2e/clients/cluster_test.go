//go:build e2e

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"varve/internal/testcluster"
)

// TestAdminToolsOfACluster runs the tools that move replicas and leaders on three brokers.
func TestAdminToolsOfACluster(t *testing.T) {
	c := testcluster.StartCluster(t, t.TempDir(), 3, testcluster.SetBroker(1, "broker.rack", "a"), testcluster.SetBroker(2, "broker.rack", "b"),
		testcluster.SetBroker(3, "broker.rack", "c"))
	run := func(class string, args ...string) string {
		t.Helper()
		return java(t, "", class, append([]string{"--bootstrap-server", c.Bootstrap()}, args...)...)
	}
	file := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "in.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	described := func(texts ...string) {
		t.Helper()
		testcluster.Eventually(t, time.Minute, func() error {
			out := run(tools+"TopicCommand", "--describe", "--topic", "moved")
			for _, text := range texts {
				if !regexp.MustCompile(text).MatchString(out) {
					return fmt.Errorf("no %q in:\n%s", text, out)
				}
			}
			return nil
		})
	}
	has(t, run(tools+"TopicCommand", "--create", "--topic", "moved", "--replica-assignment", "1:2,2:3"), "Created topic moved")
	described(`ReplicationFactor: 2`, `Partition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1,2`, `Partition: 1\tLeader: 2\tReplicas: 2,3\tIsr: 2,3`)
	kcatProduce(t, c.Bootstrap(), "moved", "none", values(0, 2000, "moved"))

	reassign := tools + "reassign.ReassignPartitionsCommand"
	move := file(`{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[3,1]},{"topic":"moved","partition":1,"replicas":[1,2,3]}]}`)
	has(t, run(reassign, "--reassignment-json-file", move, "--execute", "--throttle", "50000000"), "Successfully started partition reassignments for moved-0,moved-1")
	testcluster.Eventually(t, time.Minute, func() error {
		out := run(reassign, "--reassignment-json-file", move, "--verify")
		if strings.Count(out, "is completed") != 2 || !strings.Contains(out, "Clearing topic-level throttles on topic moved") {
			return fmt.Errorf("not verified:\n%s", out)
		}
		return nil
	})
	has(t, run(reassign, "--list"), "No partition reassignments found")
	described(`Partition: 0\tLeader: \d\tReplicas: 3,1\tIsr: `, `Partition: 1\tLeader: \d\tReplicas: 1,2,3\tIsr: `)

	elections := file(`{"partitions":[{"topic":"moved","partition":0},{"topic":"moved","partition":1}]}`)
	run(tools+"LeaderElectionCommand", "--election-type", "preferred", "--path-to-json-file", elections)
	described(`Partition: 0\tLeader: 3\tReplicas: 3,1`, `Partition: 1\tLeader: 1\tReplicas: 1,2,3`)

	has(t, run("kafka.admin.ConfigCommand", "--entity-type", "brokers", "--entity-default", "--alter", "--add-config", "log.cleaner.threads=1"), "Completed updating default config")
	has(t, run("kafka.admin.ConfigCommand", "--entity-type", "brokers", "--entity-name", "2", "--describe", "--all"), "broker.rack=b", "log.cleaner.threads=1")
	has(t, run(tools+"BrokerApiVersionsCommand"), "(id: 1 rack: a", "(id: 2 rack: b", "(id: 3 rack: c")
	has(t, run(tools+"LogDirsCommand", "--describe", "--topic-list", "moved"), `"broker":1`, `"broker":2`, `"broker":3`, `"partition":"moved-1"`)

	c.Broker(3).Kill(t)
	has(t, run(tools+"TopicCommand", "--describe", "--under-replicated-partitions"), "Topic: moved\tPartition: 0", "Topic: moved\tPartition: 1")
	if got := len(kcatRead(t, c.Bootstrap(), "moved", 2000)); got != 2000 {
		t.Errorf("%d records of 2000 with a broker down", got)
	}
	c.Broker(3).Start(t)
	testcluster.Eventually(t, time.Minute, func() error {
		if out := run(tools+"TopicCommand", "--describe", "--under-replicated-partitions"); strings.Contains(out, "moved") {
			return fmt.Errorf("still short of replicas:\n%s", out)
		}
		return nil
	})
}
