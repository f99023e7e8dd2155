package server

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"varve/commitlog"
	"varve/coordinator/group"
	"varve/fetch"
	"varve/ingest"
	"varve/internal/config"
	"varve/metadata"
	"varve/replica"
)

const (
	// stopGrace is how long a stopping server lets requests in flight finish.
	stopGrace = 5 * time.Second
	// defaultIdle is connections.max.idle.ms when it is not set.
	defaultIdle = 10 * time.Minute
	// defaultRequestBytes is socket.request.max.bytes when it is not set.
	defaultRequestBytes = 100 << 20
	// acceptPause keeps a listener that cannot accept (out of descriptors) from spinning.
	acceptPause = 50 * time.Millisecond
)

// Config of a Server. Broker, Image and Logger are required; a room that is nil makes the APIs that need it fail.
type Config struct {
	Self       metadata.BrokerID
	Broker     func() *config.Broker           // current settings, dynamic ones included
	Image      func() *metadata.Image          // never nil
	Refresh    func(ctx context.Context) error // load the image now: after this broker changed the metadata
	Store      Admin
	Partitions *replica.Manager
	Dirs       []*commitlog.Dir // log directories, for DescribeLogDirs
	Producer   *ingest.Producer
	Fetcher    *fetch.Fetcher
	Followers  *fetch.Followers // nil: this broker has no followers
	Groups     *group.Coordinator
	Remote     RemoteSizes // nil without a bucket
	Logger     *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Admin changes topics and configurations in the metadata. Implemented by metadata/postgres.
type Admin interface {
	TopicStore
	ConfigStore
	ElectionStore
	ReassignmentStore
	ProducerIDStore
}

// RemoteSizes tells the bytes of a partition in the bucket, for DescribeLogDirs. Implemented by tiering.
type RemoteSizes interface {
	RemoteBytes(tp metadata.TopicPartition) int64
}

// Server serves Kafka clients. Its methods are safe for concurrent use.
type Server struct {
	cfg         Config
	log         *slog.Logger
	metrics     *metrics
	now         func() time.Time
	producerIDs *producerIDs

	mu struct {
		sync.Mutex
		conns map[*conn]struct{}
		hosts map[string]int // connections by peer address
	}
}

// New returns a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), now: time.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.producerIDs = newProducerIDs(cfg.Store)
	s.mu.conns, s.mu.hosts = map[*conn]struct{}{}, map[string]int{}
	return s
}

// Serve accepts connections until ctx ends, then lets requests in flight finish for a grace time and closes the rest. It owns l, and
// returns when its connections are gone: nil after ctx ended, else why accepting failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	unhook := context.AfterFunc(ctx, func() { l.Close() })
	defer unhook()
	defer l.Close()
	var served sync.WaitGroup
	mine := map[*conn]struct{}{} // guarded by s.mu
	err := s.accept(ctx, l, func(nc net.Conn) {
		c := s.newConn(ctx, nc)
		if !s.admit(c, mine) {
			s.metrics.refused.Inc()
			c.kill()
			return
		}
		served.Go(func() {
			defer s.forget(c, mine)
			c.serve()
		})
	})
	s.each(mine, (*conn).stop)
	grace := time.AfterFunc(stopGrace, func() { s.each(mine, (*conn).kill) })
	defer grace.Stop()
	served.Wait()
	return err
}

// accept calls serve for each connection until ctx ends or the listener fails for good.
func (s *Server) accept(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			s.log.Warn("accepting a connection failed", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		default:
			s.metrics.accepted.Inc()
			serve(nc)
		}
	}
}

func (s *Server) newConn(ctx context.Context, nc net.Conn) *conn {
	b := s.cfg.Broker()
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		host = nc.RemoteAddr().String()
	}
	c := &conn{server: s, nc: nc, in: bufio.NewReaderSize(nc, readBuffer), host: host,
		idle:  time.Duration(setting(b, "connections.max.idle.ms", defaultIdle.Milliseconds())) * time.Millisecond,
		limit: int(b.SocketRequestMaxBytes), slots: make(chan struct{}, maxInFlight)}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if c.limit <= 0 {
		c.limit = defaultRequestBytes
	}
	c.answers.server, c.answers.nc, c.answers.out, c.answers.timeout = s, nc, newConnWriter(nc), c.idle
	return c
}

// setting reads a positive whole number of the broker's configuration.
func setting(b *config.Broker, name string, otherwise int64) int64 {
	if v, set := b.Value(name); set {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return otherwise
}

// admit registers c, unless there are max.connections already, or max.connections.per.ip of its peer.
func (s *Server) admit(c *conn, mine map[*conn]struct{}) bool {
	b := s.cfg.Broker()
	limit, perHost := int(b.MaxConnections), int(setting(b, "max.connections.per.ip", math.MaxInt32))
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && len(s.mu.conns) >= limit || s.mu.hosts[c.host] >= perHost {
		return false
	}
	s.mu.hosts[c.host]++
	s.mu.conns[c], mine[c] = struct{}{}, struct{}{}
	s.metrics.connections.Set(float64(len(s.mu.conns)))
	return true
}

func (s *Server) forget(c *conn, mine map[*conn]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
	delete(mine, c)
	if s.mu.hosts[c.host]--; s.mu.hosts[c.host] == 0 {
		delete(s.mu.hosts, c.host)
	}
	s.metrics.connections.Set(float64(len(s.mu.conns)))
}

// each calls f for every connection of one listener; f must not block.
func (s *Server) each(mine map[*conn]struct{}, f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range mine {
		f(c)
	}
}
