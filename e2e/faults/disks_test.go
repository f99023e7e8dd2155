//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/historycheck"
	"varve/internal/testcluster"
	"varve/internal/testpg"
)

// startOn runs a broker whose log directories are on the given paths.
func startOn(t *testing.T, dir string, logDirs ...string) *testcluster.Broker {
	t.Helper()
	config := filepath.Join(dir, "varve.yaml")
	text := fmt.Sprintf("node.id: 1\nlisteners: PLAINTEXT://127.0.0.1:0\nvarve.http.listen: 127.0.0.1:0\nlog.dirs: %s\nvarve.metadata.url: %q\n", strings.Join(logDirs, ","), testpg.EmptyURL(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return testcluster.StartBroker(t, dir, config)
}

// TestPowerLoss cuts the power of the log directory's disk under load, several times: what was acknowledged is there afterwards, once, in order, and nothing is there
// that was not sent.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	d := testcluster.NewDisk(t, filepath.Join(dir, "disk"))
	b := startOn(t, dir, filepath.Join(d.Path, "log"))
	create(t, connect(t, b.Addr), "t", map[string]string{"segment.bytes": "1048576"})
	h := historycheck.New()
	for round := range 5 {
		load, err := historycheck.StartLoad(h, historycheck.LoadConfig{Addr: b.Addr, Topic: "t", Partitions: 1, Producers: 4, PerSecond: 3000, Size: 500,
			Seed: uint64(round) + 1, Prefix: fmt.Sprint("round", round, "-")})
		if err != nil {
			t.Fatal(err)
		}
		acked := h.AckedCount()
		testcluster.Eventually(t, wait, func() error {
			if n := h.AckedCount() - acked; n < 300 {
				return fmt.Errorf("%d are acknowledged", n)
			}
			return nil
		})
		testcluster.Freeze(t, b.Pid()) // a machine without power acknowledges nothing; a kernel whose file system is shut down may call a sync under way a success
		d.CutPower(t)
		b.Kill(t)
		_ = load.Stop(time.Second) // what it still has in flight is not acknowledged
		d.ComeBack(t)
		b.Start(t)
		if _, err := historycheck.NewReader(h, b.Addr, "t").ReadToEnd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if v := h.Violations(); len(v) > 0 {
		t.Errorf("%d violations: %s", len(v), strings.Join(v[:min(5, len(v))], "\n"))
	}
	t.Logf("%d records were acknowledged", h.AckedCount())
}

// TestTheLastDirectoryEndsTheBroker: a broker none of whose directories works says so and ends; a supervisor may start it again.
func TestTheLastDirectoryEndsTheBroker(t *testing.T) {
	dir := t.TempDir()
	d := testcluster.NewDisk(t, filepath.Join(dir, "disk"))
	b := startOn(t, dir, filepath.Join(d.Path, "log"))
	cl := connect(t, b.Addr, kgo.RecordRetries(1), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.RecordDeliveryTimeout(3*time.Second))
	create(t, cl, "t", nil)
	if err := produce(t.Context(), cl, "t", 100, 1024); err != nil {
		t.Fatal(err)
	}
	d.CutPower(t)
	if produce(t.Context(), cl, "t", 1, 1024) == nil {
		t.Error("a record was acknowledged that no disk has")
	}
	testcluster.Eventually(t, wait, func() error {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.Pid())); err == nil && !strings.Contains(string(text), ") Z ") {
			return errors.New("the broker still runs")
		}
		return nil
	})
	if text := b.LogText(t); !strings.Contains(text, "no log directory works any more") || !strings.Contains(text, "input/output error") {
		t.Error("the broker ended without saying why")
	}
	b.Kill(t)
	d.ComeBack(t)
	b.Start(t)
	consume(t, b.Addr, "t", 100)
}

// TestAFailedDirectoryLeavesTheOthers: of two log directories one loses its disk. Its partitions refuse with KAFKA_STORAGE_ERROR, the others take records, new topics
// go to the good disk; a restart without the disk serves the others, and one with the disk serves all again.
func TestAFailedDirectoryLeavesTheOthers(t *testing.T) {
	dir := t.TempDir()
	d := testcluster.NewDisk(t, filepath.Join(dir, "disk"))
	b := startOn(t, dir, filepath.Join(d.Path, "log"), filepath.Join(dir, "good"))
	client := func() *kgo.Client { // anew after each start, for the port is another one
		return connect(t, b.Addr, kgo.RecordRetries(1), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.RecordDeliveryTimeout(3*time.Second))
	}
	cl := client()
	for _, topic := range []string{"a", "b"} {
		create(t, cl, topic, nil)
		if err := produce(t.Context(), cl, topic, 100, 1024); err != nil {
			t.Fatal(err)
		}
	}
	bad, good := "a", "b"
	if _, err := os.Stat(filepath.Join(dir, "good", "a-0")); err == nil {
		bad, good = good, bad
	}
	if _, err := os.Stat(filepath.Join(d.Path, "log", bad+"-0")); err != nil {
		t.Fatalf("the two topics are in one directory: %v", err)
	}
	d.CutPower(t)
	takes := func(topic string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return produce(ctx, cl, topic, 1, 1024)
	}
	if takes(bad) == nil {
		t.Error("a record was acknowledged that no disk has")
	}
	if err := takes(good); err != nil {
		t.Errorf("the good directory: %v", err)
	}
	consume(t, b.Addr, good, 101)
	create(t, cl, "new", nil)
	if err := takes("new"); err != nil {
		t.Errorf("a new topic: %v", err)
	}
	if n := strings.Count(b.LogText(t), "log directory failed"); n == 0 {
		t.Error("nobody said that the directory failed")
	}
	descriptions, err := kadm.NewClient(cl).DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	offline := 0
	for _, of := range descriptions {
		for _, dir := range of {
			if dir.Err != nil {
				offline++
			}
		}
	}
	if offline != 1 {
		t.Errorf("%d directories are described as failed", offline)
	}

	b.Kill(t)
	b.Start(t) // the file system answers every call with an error
	cl = client()
	testcluster.Eventually(t, wait, func() error { return takes(good) })
	if takes(bad) == nil {
		t.Error("the topic of the failed disk was made anew on the other one")
	}
	b.Kill(t)
	d.ComeBack(t)
	b.Start(t)
	cl = client()
	testcluster.Eventually(t, wait, func() error { return takes(bad) })
	consume(t, b.Addr, bad, 101)
}
