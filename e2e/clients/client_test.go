//go:build e2e

package clients

import (
	"context"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
	"varve/internal/testpg"
)

var against = flag.String("against", "varve", "varve or kafka")

func TestMain(m *testing.M) { testcluster.Main(testpg.Main(m)) }

func start(t *testing.T) *testcluster.Broker {
	t.Helper()
	if *against == "kafka" {
		return testcluster.StartKafka(t, t.TempDir())
	}
	return testcluster.StartDev(t, t.TempDir())
}

// A client is one unmodified client. Its functions end the test when the client fails.
type client struct {
	name string
	// produce writes the values, each keyed by its first word, and returns when all are acknowledged.
	produce func(t *testing.T, addr, topic, codec string, values []string)
	// read returns n values from the beginning, outside of any group that lasts.
	read func(t *testing.T, addr, topic string, n int) []string
	// group returns n values as a member of a group, commits and leaves.
	group func(t *testing.T, addr, topic, group string, n int) []string
}

func clients() []client {
	return []client{
		{"kcat", kcatProduce, kcatRead, kcatGroup},
		{"java", javaProduce, javaRead, javaGroup},
		{"python", pythonProduce, pythonRead, pythonGroup},
		{"franz-go", franzProduce, franzRead, franzGroup},
	}
}

// tool runs a program and returns its standard output.
func tool(t *testing.T, input string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errors strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, errors.String(), out.String())
	}
	return out.String()
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func joined(values []string) string { return strings.Join(values, "\n") + "\n" }

// --- kcat ---

func kcatProduce(t *testing.T, addr, topic, codec string, values []string) {
	t.Helper()
	var input strings.Builder
	for _, v := range values {
		key, _, _ := strings.Cut(v, " ")
		fmt.Fprintf(&input, "%s\t%s\n", key, v)
	}
	tool(t, input.String(), "kcat", "-b", addr, "-P", "-t", topic, "-K", "\t", "-z", codec,
		"-X", "enable.idempotence=true", "-X", "linger.ms=50")
}

func kcatRead(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	return lines(tool(t, "", "kcat", "-b", addr, "-C", "-q", "-t", topic, "-o", "beginning", "-c", fmt.Sprint(n)))
}

func kcatGroup(t *testing.T, addr, topic, group string, n int) []string {
	t.Helper()
	return lines(tool(t, "", "kcat", "-b", addr, "-q", "-X", "auto.offset.reset=earliest", "-c", fmt.Sprint(n), "-G", group, topic))
}

// --- Java's console tools ---

func java(t *testing.T, input, class string, args ...string) string {
	t.Helper()
	return tool(t, input, testcluster.KafkaScript(t), append([]string{"run", class}, args...)...)
}

func javaProduce(t *testing.T, addr, topic, codec string, values []string) {
	t.Helper()
	var input strings.Builder
	for _, v := range values {
		key, _, _ := strings.Cut(v, " ")
		fmt.Fprintf(&input, "%s\t%s\n", key, v)
	}
	java(t, input.String(), "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", addr, "--topic", topic,
		"--reader-property", "parse.key=true", "--compression-codec", codec, "--command-property", "linger.ms=50")
}

func javaRead(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	return lines(java(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", addr, "--topic", topic,
		"--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "45000"))
}

func javaGroup(t *testing.T, addr, topic, group string, n int) []string {
	t.Helper()
	return lines(java(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", addr, "--topic", topic,
		"--group", group, "--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "45000"))
}

// --- Python ---

func python(t *testing.T, input string, args ...string) string {
	t.Helper()
	script := filepath.Join(testcluster.Root(t), "testdata/clients/client.py")
	return tool(t, input, "python3", append([]string{script}, args...)...)
}

func pythonProduce(t *testing.T, addr, topic, codec string, values []string) {
	t.Helper()
	python(t, joined(values), "produce", addr, topic, codec)
}

func pythonRead(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	return lines(python(t, "", "consume", addr, topic, fmt.Sprint(n)))
}

func pythonGroup(t *testing.T, addr, topic, group string, n int) []string {
	t.Helper()
	return lines(python(t, "", "group", addr, topic, group, fmt.Sprint(n)))
}

// --- franz-go ---

func franz(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func franzCodec(name string) kgo.CompressionCodec {
	return map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[name]
}

func franzProduce(t *testing.T, addr, topic, codec string, values []string) {
	t.Helper()
	cl := franz(t, addr, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(franzCodec(codec)), kgo.ProducerLinger(50*time.Millisecond))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	var records []*kgo.Record
	for _, v := range values {
		key, _, _ := strings.Cut(v, " ")
		records = append(records, kgo.KeyStringRecord(key, v))
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func franzRead(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	cl := franz(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	var values []string
	for _, r := range poll(t, cl, n) {
		values = append(values, string(r.Value))
	}
	return values
}

func franzGroup(t *testing.T, addr, topic, group string, n int) []string {
	t.Helper()
	cl := franz(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
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
}

// poll returns exactly n records.
func poll(t *testing.T, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := cl.PollRecords(ctx, n-len(records))
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d records: %v", len(records), n, err)
		}
		fetches.EachError(func(topic string, p int32, err error) { t.Errorf("fetching %s-%d: %v", topic, p, err) })
		records = append(records, fetches.Records()...)
	}
	return records
}

func makeTopic(t *testing.T, addr, topic string, partitions int32, configs map[string]*string) {
	t.Helper()
	cl := franz(t, addr)
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatalf("creating %s: %v", topic, err)
	}
}
