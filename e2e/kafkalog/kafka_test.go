//go:build e2e

package kafkalog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/internal/testcluster"
)

// A kafka is the reference Kafka whose log directory we write.
type kafka struct {
	*testcluster.Broker
	data string // its log directory
	ids  map[string]uuid.UUID
}

// startKafka runs a Kafka that has the topics of kinds, empty, and stops it.
func startKafka(t *testing.T, kinds []kind, properties ...string) *kafka {
	t.Helper()
	dir := t.TempDir()
	k := &kafka{Broker: testcluster.StartKafka(t, dir, append(properties, "log.retention.ms=-1", "log.initial.task.delay.ms=100")...),
		data: filepath.Join(dir, "data"), ids: map[string]uuid.UUID{}}
	admin := kadm.NewClient(k.connect(t))
	for _, kind := range kinds {
		configs := map[string]*string{"file.delete.delay.ms": new("0")}
		for key, value := range kind.config {
			configs[key] = &value
		}
		created, err := admin.CreateTopic(t.Context(), 1, 1, configs, kind.name)
		if err != nil {
			t.Fatal(err)
		}
		k.ids[kind.name] = uuid.UUID(created.ID)
	}
	k.Stop(t)
	return k
}

func (k *kafka) connect(t *testing.T) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr), kgo.DisableFetchSessions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// put makes ours the log directory of the stopped Kafka; what says which directory of which cluster it is stays Kafka's.
func (k *kafka) put(t *testing.T, ours string) {
	t.Helper()
	identity, err := os.ReadFile(filepath.Join(k.data, "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	metadataLog, err := filepath.Glob(filepath.Join(k.data, "__cluster_metadata-0"))
	if err != nil || len(metadataLog) > 0 {
		t.Fatalf("the metadata log is in the way: %v, %v", metadataLog, err)
	}
	if err := os.RemoveAll(k.data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(k.data, os.DirFS(ours)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.data, "meta.properties"), identity, 0o644); err != nil {
		t.Fatal(err)
	}
}

// openDir opens a log directory of ours with logs of small segments.
func openDir(t *testing.T, path string) *commitlog.Dir {
	t.Helper()
	d, err := commitlog.OpenDir(path, commitlog.DirOptions{NodeID: 1, TailBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openLog(t *testing.T, d *commitlog.Dir, topic string, id uuid.UUID) *commitlog.Log {
	t.Helper()
	cfg := commitlog.DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.SegmentAge, cfg.ProducerIDExpiration = 3000, 200, 1<<62, 1<<62
	cfg.Compaction = commitlog.Compaction{DeleteRetention: time.Hour}
	l, err := d.OpenLog(topic+"-0", id, cfg, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ask sends one request about one partition, until the answer is no longer that the broker has to get ready first.
func ask[Q kmsg.Request, A kmsg.Response](t *testing.T, cl *kgo.Client, request func() Q, code func(A) int16) A {
	t.Helper()
	var a A
	await(t, "an answer", func() bool {
		answer, err := cl.Request(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		a = answer.(A)
		failure := kerr.ErrorForCode(code(a))
		if failure != nil && !kerr.IsRetriable(failure) {
			t.Fatalf("%T: %v", a, failure)
		}
		return failure == nil
	})
	return a
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
