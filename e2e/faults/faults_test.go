//go:build e2e

package faults

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
	"varve/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m).Run()) }

const wait = 60 * time.Second

func connect(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordDeliveryTimeout(20*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func create(t *testing.T, cl *kgo.Client, topic string, configs map[string]string) {
	t.Helper()
	set := map[string]*string{}
	for name, value := range configs {
		set[name] = &value
	}
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, set, topic); err != nil {
		t.Fatal(err)
	}
}

// produce sends n records of size bytes, each acknowledged before it returns, and returns the first error.
func produce(ctx context.Context, cl *kgo.Client, topic string, n, size int) error {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Value: make([]byte, size)}
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func consume(t *testing.T, addr, topic string, want int) {
	t.Helper()
	cl := connect(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	for got := 0; got < want; {
		f := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records came: %v", got, want, err)
		}
		got += f.NumRecords()
	}
}

// TestPostgresStopped: producing and fetching go on; commits are answered with retriable errors, and succeed when Postgres is back.
func TestPostgresStopped(t *testing.T) {
	b := testcluster.StartDev(t, t.TempDir())
	cl := connect(t, b.Addr)
	create(t, cl, "t", nil)
	if err := produce(t.Context(), cl, "t", 100, 100); err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	commit := func(offset int64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, offset, -1)
		return adm.CommitAllOffsets(ctx, "g", offsets)
	}
	if err := commit(1); err != nil {
		t.Fatal(err)
	}
	signalAll(t, b.PostgresPid(), syscall.SIGSTOP)
	resume := sync.OnceFunc(func() { signalAll(t, b.PostgresPid(), syscall.SIGCONT) })
	defer resume()
	started := time.Now()
	if err := produce(t.Context(), cl, "t", 100, 100); err != nil {
		t.Errorf("producing while Postgres is stopped: %v", err)
	}
	consume(t, b.Addr, "t", 200)
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("producing and consuming took %s while Postgres is stopped", took)
	}
	if err := commit(2); err == nil {
		t.Error("a commit succeeded while Postgres is stopped")
	} else if ke := (*kerr.Error)(nil); errors.As(err, &ke) && !ke.Retriable {
		t.Errorf("a commit while Postgres is stopped: %v, which is not retriable", err)
	}
	resume()
	testcluster.Eventually(t, wait, func() error { return commit(3) })
}

// signalAll signals a Postgres and the processes that serve its connections.
func signalAll(t *testing.T, postmaster int, sig syscall.Signal) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(postmaster, sig); err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent int
		_, rest, _ := strings.Cut(string(text), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != postmaster {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, sig) // it may have ended meanwhile
	}
}

// TestDeadBucket: while the bucket cannot be written, uploads wait and nothing else does; then they catch up.
func TestDeadBucket(t *testing.T) {
	b := testcluster.StartDev(t, t.TempDir())
	cl := connect(t, b.Addr)
	bucket := b.BucketDir(t)
	if err := os.Rename(bucket, bucket+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bucket, nil, 0o600); err != nil { // in its place, so that it is not made anew
		t.Fatal(err)
	}
	create(t, cl, "t", map[string]string{"segment.bytes": "1048576", "local.retention.ms": "1", "retention.ms": "-1"})
	for range 4 {
		if err := produce(t.Context(), cl, "t", 500, 1024); err != nil {
			t.Fatalf("producing while the bucket is away: %v", err)
		}
	}
	consume(t, b.Addr, "t", 2000)
	if segments := b.Segments(t, "t", 0); segments[0] != 0 {
		t.Errorf("local segments %v: some went that are not in the bucket", segments)
	}
	if err := errors.Join(os.Remove(bucket), os.Rename(bucket+".away", bucket)); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, wait, func() error {
		if segments := b.Segments(t, "t", 0); segments[0] == 0 {
			return fmt.Errorf("nothing was uploaded and trimmed yet: local segments %v", segments)
		}
		return nil
	})
	consume(t, b.Addr, "t", 2000)
}

// TestFullDisk: a full disk refuses produce, keeps serving what is there, and takes records again when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mounting a small tmpfs needs privileges that this run does not have: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	config := filepath.Join(dir, "varve.yaml")
	text := fmt.Sprintf("node.id: 1\nlisteners: PLAINTEXT://127.0.0.1:0\nvarve.http.listen: 127.0.0.1:0\nlog.dirs: %s\nvarve.metadata.url: %q\n", filepath.Join(small, "log"), testpg.EmptyURL(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := testcluster.StartBroker(t, dir, config)
	cl := connect(t, b.Addr, kgo.RecordRetries(2), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	create(t, cl, "t", map[string]string{"segment.bytes": "1048576"})
	if err := produce(t.Context(), cl, "t", 100, 1024); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(small, "filler")
	if err := fill(filler); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	err := produce(ctx, cl, "t", 4000, 1024)
	cancel()
	if err == nil {
		t.Fatal("more was acknowledged than the disk holds")
	}
	consume(t, b.Addr, "t", 100)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, wait, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return produce(ctx, cl, "t", 1, 1024)
	})
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestHostileFrames: frames that lie about their size, and arrays that lie about theirs, end their connection and cost no memory.
func TestHostileFrames(t *testing.T) {
	b := testcluster.StartDev(t, t.TempDir())
	cl := connect(t, b.Addr)
	create(t, cl, "t", nil)
	before := testcluster.RSS(t, b.Pid())
	huge := func(key, version int16) []byte { // a header, then an array of two billion
		f := binary.BigEndian.AppendUint32(nil, 8+2+4)
		f = binary.BigEndian.AppendUint16(f, uint16(key))
		f = binary.BigEndian.AppendUint16(f, uint16(version))
		f = append(f, 0, 0, 0, 1, 0xff, 0xff)
		return binary.BigEndian.AppendUint32(f, 0x7fffffff)
	}
	for range 200 {
		for _, frame := range [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0}, {0, 0, 0, 2, 0, 3}, huge(3, 1), huge(8, 2), huge(1, 4), {0x05, 0xf5, 0xe1, 0x00, 0, 0}} {
			c, err := net.Dial("tcp", b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = c.Write(frame)
			if frame[0] != 0x05 { // that one announces 100 MB and sends none: it may stay open
				_, _ = io.Copy(io.Discard, c)
			}
			c.Close()
		}
	}
	if after := testcluster.RSS(t, b.Pid()); after > before+64<<20 {
		t.Errorf("the broker grew from %d to %d bytes", before, after)
	}
	if err := produce(t.Context(), cl, "t", 10, 10); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
