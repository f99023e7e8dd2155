package postgres_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// Every method fails at once with the retriable error of its kind, and works again when Postgres does.
func TestOutageAndReturn(t *testing.T) {
	t.Parallel()
	pg := testpg.Server(t)
	s := openURL(t, pg.URL())
	tp, b := led(t, s)
	epoch := shardOwner(t, s)
	controller := acquire(t, s, 1, time.Minute)
	seg := newSegment(tp, 0, 10)
	if err := s.AddIntent(t.Context(), seg); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	calls := []struct {
		name string
		want *kerr.Error
		call func() error
	}{
		{"Snapshot", kerr.RequestTimedOut, func() error { _, err := s.Snapshot(ctx); return err }},
		{"Version", kerr.RequestTimedOut, func() error { _, err := s.Version(ctx); return err }},
		{"Heartbeat", kerr.RequestTimedOut, func() error { _, err := s.Heartbeat(ctx, 1, b.epoch, int64(b.epoch), time.Minute); return err }},
		{"RenewController", kerr.RequestTimedOut, func() error { _, err := s.RenewController(ctx, controller, time.Minute); return err }},
		{"AcquireController", kerr.RequestTimedOut, func() error { _, _, err := s.AcquireController(ctx, 2, time.Minute); return err }},
		{"ControllerPass", kerr.NotController, func() error { _, err := s.ControllerPass(ctx, controller); return err }},
		{"CreateTopics", kerr.NotController, func() error {
			_, err := s.CreateTopics(ctx, []metadata.NewTopic{{Name: "x", Assignment: [][]metadata.BrokerID{{1}}}}, true)
			return err
		}},
		{"DeleteTopics", kerr.NotController, func() error { _, err := s.DeleteTopics(ctx, []metadata.TopicRef{{Name: "none"}}); return err }},
		{"AlterConfigs", kerr.NotController, func() error {
			return s.AlterConfigs(ctx, metadata.ConfigResource{Topic: "flights"}, nil, false)
		}},
		{"ElectLeaders", kerr.NotController, func() error { _, err := s.ElectLeaders(ctx, metadata.ElectPreferred, nil); return err }},
		{"RaiseLogStart", kerr.RequestTimedOut, func() error { _, err := s.RaiseLogStart(ctx, tp, 1, 0, 0); return err }},
		{"ProducerIDBlock", kerr.CoordinatorLoadInProgress, func() error { _, _, err := s.ProducerIDBlock(ctx); return err }},
		{"AddIntent", kerr.KafkaStorageError, func() error { return s.AddIntent(ctx, seg) }},
		{"CommitSegment", kerr.KafkaStorageError, func() error { return s.CommitSegment(ctx, seg) }},
		{"LiveSegments", kerr.KafkaStorageError, func() error { _, err := s.LiveSegments(ctx, tp, 0, 1); return err }},
		{"LoadShard", kerr.CoordinatorNotAvailable, func() error { _, err := s.LoadShard(ctx, 3, epoch); return err }},
		{"CommitOffsets", kerr.CoordinatorNotAvailable, func() error {
			return s.CommitOffsets(ctx, 3, epoch, []metadata.OffsetCommit{{GroupID: "g", Offset: metadata.Offset{TopicPartition: tp}}})
		}},
		{"FetchOffsets", kerr.CoordinatorNotAvailable, func() error { _, err := s.FetchOffsets(ctx, "g", nil); return err }},
	}
	for _, down := range []bool{true, false, true, false} {
		if down {
			pg.Stop()
		} else {
			pg.Start()
		}
		for _, c := range calls {
			started := time.Now()
			err := c.call()
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("%s took %v", c.name, took)
			}
			var away *postgres.UnavailableError
			switch {
			case !down && err != nil:
				t.Errorf("%s after the outage: %v", c.name, err)
			case down && (!errors.As(err, &away) || !errors.Is(err, c.want) || !c.want.Retriable):
				t.Errorf("%s in the outage: %v, want %v", c.name, err, c.want)
			}
		}
	}
}

// A broker that hangs inside a transaction cannot hold up the others for longer than the lock timeout and its retries.
func TestForgottenLock(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	s := openURL(t, url)
	_, b := led(t, s)
	conn := connect(t, url)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `SELECT * FROM topic FOR UPDATE`)
	started := time.Now()
	err := s.AlterConfigs(t.Context(), metadata.ConfigResource{Topic: "flights"}, nil, false)
	var away *postgres.UnavailableError
	if took := time.Since(started); !errors.As(err, &away) || took > 8*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	b.beat(t, s, time.Minute) // leases are not touched by it
}

// Work that has taken every connection, waiting for a lock, delays neither a heartbeat nor the news of who leads.
func TestLeasesAndImagesDoNotQueueBehindWork(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	s := openURL(t, url)
	_, b := led(t, s)
	conn := connect(t, url)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `SELECT * FROM topic FOR UPDATE`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = s.AlterConfigs(t.Context(), metadata.ConfigResource{Topic: "flights"}, nil, false) })
	}
	awaitWaiting(t, url, 3)
	started := time.Now()
	b.beat(t, s, time.Minute)
	if took := time.Since(started); took > time.Second {
		t.Errorf("the heartbeat took %v", took)
	}
	started = time.Now()
	load(t, s, load(t, s, nil))
	if _, err := s.Version(t.Context()); err != nil || time.Since(started) > time.Second {
		t.Errorf("loads and the version took %v, %v", time.Since(started), err)
	}
	exec(t, conn, `ROLLBACK`)
	wg.Wait()
}

// cutter is a proxy before Postgres that can lose the answer to a COMMIT.
type cutter struct {
	addr  string
	armed atomic.Bool
	cut   atomic.Bool
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(client, target) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return c
}

func (c *cutter) serve(client net.Conn, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	var losing atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = client.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || losing.Load() {
				return // the answer to COMMIT is in buf, and nobody gets it
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if strings.Contains(string(buf[:n]), "commit") && c.armed.CompareAndSwap(true, false) {
			losing.Store(true)
			c.cut.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = server.Close()
	<-done
	_, _ = io.Copy(io.Discard, client)
}

// The connection dies when COMMIT has been sent: the segment is live, and the uploader learns so.
func TestCommitAnswerLost(t *testing.T) {
	direct := testpg.URL(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, u.Host)
	u.Host = proxy.addr
	s := openURL(t, u.String())
	tp, _ := led(t, s)
	seg := newSegment(tp, 0, 10)
	if err := s.AddIntent(t.Context(), seg); err != nil {
		t.Fatal(err)
	}
	proxy.armed.Store(true)
	if err := s.CommitSegment(t.Context(), seg); err != nil {
		t.Errorf("committed, but the caller is told: %v", err)
	}
	if !proxy.cut.Load() {
		t.Fatal("nothing was cut")
	}
	if live, err := s.LiveSegments(t.Context(), tp, 0, 10); err != nil || len(live) != 1 {
		t.Error(live, err)
	}
	// Elsewhere an unknown outcome stays unknown: nothing is tried twice.
	proxy.armed.Store(true)
	first, _, err := s.ProducerIDBlock(t.Context())
	if err == nil {
		t.Error("no error for a lost answer", first)
	}
	if next, _, err := s.ProducerIDBlock(t.Context()); err != nil || next != 1000 {
		t.Error(next, err)
	}
}
