package postgres_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"varve/internal/testpg"
	"varve/metadata"
)

func TestListenAnnouncesChanges(t *testing.T) {
	s := open(t)
	newBroker(1).join(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	versions := make(chan int64, 100)
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(ctx, func(v int64) { versions <- v }) }()
	want := snapshot(t, s).Version
	if v := <-versions; v != want {
		t.Errorf("first %d, in force is %d", v, want)
	}
	topic(t, s, "flights", []metadata.BrokerID{1})
	if v := <-versions; v != want+1 {
		t.Errorf("announced %d, want %d", v, want+1)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestListenEndsWithItsConnection(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	listening := make(chan int64, 10)
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(t.Context(), func(v int64) { listening <- v }) }()
	<-listening
	exec(t, connect(t, url), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%meta_version%' AND pid <> pg_backend_pid() AND datname = current_database()`)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("lost without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still listening")
	}
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}

// A database restored from yesterday's backup is refused, loudly and once, until it has caught up.
func TestPublisherRefusesThePast(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	newBroker(1).join(t, s)
	var log lockedBuffer
	p := metadata.NewPublisher(s, slog.New(slog.NewTextHandler(&log, nil)), nil)
	var seen []int64
	p.OnImage(func(im *metadata.Image) { seen = append(seen, im.Version) })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := p.Image()
	conn := connect(t, url)
	exec(t, conn, `UPDATE meta_version SET v = v - 1`)
	for range 3 {
		if err := p.Refresh(t.Context()); err == nil {
			t.Error("went back")
		}
	}
	if p.Image() != good {
		t.Error("the good image is gone")
	}
	exec(t, conn, `UPDATE meta_version SET v = v + 2`)
	if err := p.Refresh(t.Context()); err != nil || p.Image().Version != good.Version+1 {
		t.Error(err, p.Image().Version)
	}
	cancel()
	wg.Wait()
	if n := strings.Count(log.String(), "ALARM"); n != 1 {
		t.Errorf("%d alarms:\n%s", n, log.String())
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] <= seen[i-1] {
			t.Errorf("callbacks out of order: %v", seen)
		}
	}
}

// Without notifications the poll finds the change: LISTEN may be lost in a pooler.
func TestPublisherPolls(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	p := metadata.NewPublisher(s, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.Run(ctx) })
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := p.Image().Version
	exec(t, connect(t, url), `UPDATE meta_version SET v = v + 1`) // no notification
	await(t, "polled", func() bool { return p.Image().Version == before+1 })
}
