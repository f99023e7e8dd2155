package server

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

const testTimeout = 20 * time.Second

// newBroker parses settings on top of what a broker must have.
func newBroker(t testing.TB, set map[string]string) *config.Broker {
	t.Helper()
	all := map[string]string{"node.id": "1", "varve.metadata.url": "postgres://localhost/none", "log.dirs": t.TempDir()}
	for k, v := range set {
		all[k] = v
	}
	b, err := config.NewBroker(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imageOf is an image with one live broker and one topic "wire" of two partitions.
func imageOf() *metadata.Image {
	im := &metadata.Image{Version: 7, ClusterID: uuid.MustParse("11111111-2222-3333-4444-555555555555"), Controller: 1,
		Brokers: map[metadata.BrokerID]*metadata.Broker{1: {ID: 1, Epoch: 1, Host: "broker.test", Port: 9092}},
		Topics:  map[metadata.TopicID]*metadata.Topic{}, ByName: map[string]*metadata.Topic{},
		BrokerConfigs: map[metadata.BrokerID]map[string]string{}}
	addTopic(im, "wire", 2, 1)
	return im
}

func addTopic(im *metadata.Image, name string, partitions int, leader metadata.BrokerID) *metadata.Topic {
	t := &metadata.Topic{ID: uuid.New(), Name: name, Configs: map[string]string{}}
	for p := range partitions {
		t.Partitions = append(t.Partitions, &metadata.Partition{TopicPartition: metadata.TopicPartition{TopicID: t.ID, Partition: int32(p)},
			Leader: leader, LeaderEpoch: 3, Replicas: []metadata.BrokerID{1}, ISR: []metadata.BrokerID{1}, Dirs: make([]metadata.DirID, 1)})
	}
	im.Topics[t.ID], im.ByName[name] = t, t
	return t
}

// startServer serves on a free port until the test ends, and checks that Serve returns.
func startServer(t testing.TB, cfg Config) (s *Server, addr string) {
	t.Helper()
	if cfg.Self == 0 {
		cfg.Self = 1
	}
	if cfg.Image == nil {
		im := imageOf()
		cfg.Image = func() *metadata.Image { return im }
	}
	if cfg.Broker == nil {
		b := newBroker(t, nil)
		cfg.Broker = func() *config.Broker { return b }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	s = New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(testTimeout):
			t.Error("Serve did not return")
		}
	})
	return s, l.Addr().String()
}

// A peer is a client that speaks raw frames.
type peer struct {
	t    testing.TB
	conn net.Conn
	corr int32
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return &peer{t: t, conn: c}
}

// encode makes the frame of a request.
func encode(req kmsg.Request, corr int32) []byte {
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, corr)
	return b
}

// send sends a request and returns its correlation id.
func (p *peer) send(req kmsg.Request) int32 {
	p.t.Helper()
	p.corr++
	p.write(encode(req, p.corr))
	return p.corr
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// frame reads one frame without its size.
func (p *peer) frame() []byte {
	p.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		p.t.Fatalf("reading a size: %v", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Fatalf("reading a frame of %d bytes: %v", len(b), err)
	}
	return b
}

// receive reads the answer to req.
func (p *peer) receive(req kmsg.Request, corr int32) kmsg.Response {
	p.t.Helper()
	b := p.frame()
	if got := int32(binary.BigEndian.Uint32(b)); got != corr {
		p.t.Fatalf("correlation id %d, want %d", got, corr)
	}
	b = b[4:]
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if b[0] != 0 {
			p.t.Fatalf("tagged fields in a response header: %x", b[0])
		}
		b = b[1:]
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(b); err != nil {
		p.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

// ask sends req in version v and reads its answer.
func ask[R kmsg.Response](p *peer, req kmsg.Request, v int16) R {
	p.t.Helper()
	req.SetVersion(v)
	return p.receive(req, p.send(req)).(R)
}

// closed checks that the broker closes the connection without a byte.
func (p *peer) closed() {
	p.t.Helper()
	p.conn.SetDeadline(time.Now().Add(testTimeout))
	n, err := p.conn.Read(make([]byte, 1))
	if ne, ok := err.(net.Error); n > 0 || err == nil || ok && ne.Timeout() {
		p.t.Fatalf("connection open: %d bytes, %v", n, err)
	}
}
