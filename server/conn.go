package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxInFlight bounds the requests of one connection that have been started and not answered. At the bound the connection is not read.
	maxInFlight = 100
	// readBuffer holds many small requests and is all that an idle connection costs besides its goroutine.
	readBuffer = 4 << 10
)

// A conn is one client connection. Its goroutine reads requests and starts them in order; an answer that must wait is waited for on a
// goroutine of its own; answers leave in request order, written by whoever completes the oldest outstanding request (see answers).
type conn struct {
	server   *Server
	nc       net.Conn
	in       *bufio.Reader
	answers  answers
	host     string
	clientID string // of the last request: most connections have only one, so it is copied once
	idle     time.Duration
	limit    int           // socket.request.max.bytes
	slots    chan struct{} // one per request in flight
	waits    sync.WaitGroup
	ctx      context.Context // of handlers and waits
	cancel   context.CancelFunc
	stopping atomic.Bool
}

// serve runs the connection until the peer leaves, breaks the protocol or is idle for too long, or stop is called. It returns when nothing
// of the connection runs any more.
func (c *conn) serve() {
	ctx := c.ctx
	defer c.waits.Wait()
	defer c.nc.Close()
	defer c.cancel()
	for {
		x, err := c.next()
		if err != nil {
			c.explainEnd(err)
			break
		}
		if !c.reserve(ctx) {
			x.frame.release()
			return
		}
		c.start(ctx, x)
		if c.answers.isBroken() {
			return
		}
	}
	if c.stopping.Load() {
		c.waits.Wait()
	}
}

// reserve takes a slot. False: the connection is over, or all its requests have waited for so long that the peer, which is not read
// meanwhile, must be taken for gone.
func (c *conn) reserve(ctx context.Context) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	timeout := time.NewTimer(c.idle)
	defer timeout.Stop()
	select {
	case c.slots <- struct{}{}:
		return true
	case <-ctx.Done():
	case <-timeout.C:
	}
	return false
}

// stop ends reading; what has been started is answered before the connection closes.
func (c *conn) stop() {
	c.stopping.Store(true)
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// kill ends the connection at once.
func (c *conn) kill() {
	c.cancel()
	c.nc.Close()
}

// explainEnd logs why a connection ended, if the peer did something wrong.
func (c *conn) explainEnd(err error) {
	if errors.Is(err, errFrame) {
		c.server.metrics.broken.Inc()
		c.server.log.Warn("closing connection", "peer", c.nc.RemoteAddr().String(), "client", c.clientID, "reason", err)
	}
}

// next reads and decodes one request.
func (c *conn) next() (*exchange, error) {
	p, err := c.awaitFrame()
	if err != nil {
		return nil, err
	}
	a := registry[p.key]
	if a == nil {
		return nil, fmt.Errorf("%w: api key %d", errFrame, p.key)
	}
	served := a.served <= p.version && p.version <= a.max
	if !served && a != apiVersions {
		return nil, fmt.Errorf("%w: %s v%d", errFrame, kmsg.NameForKey(p.key), p.version)
	}
	if p.key != int16(kmsg.Produce) && p.size > maxControlBytes {
		return nil, fmt.Errorf("%w: %s of %d bytes", errFrame, kmsg.NameForKey(p.key), p.size)
	}
	f, err := readFrame(c.in, p.size, a.alias, func() { c.nc.SetReadDeadline(c.server.now().Add(frameTimeout)) })
	if err != nil {
		return nil, err
	}
	x := &exchange{api: a, version: p.version, frame: f, started: c.server.now()}
	if !served {
		return x, x.refuseVersion()
	}
	if err := c.decode(x); err != nil {
		f.release()
		return nil, err
	}
	m := c.server.metrics.apis[p.key]
	m.inBytes.Add(float64(sizePrefix + p.size))
	x.metrics = m
	return x, nil
}

// awaitFrame waits for the next frame, up to the idle timeout; a peer that waits for answers is not idle.
func (c *conn) awaitFrame() (preamble, error) {
	for {
		if c.in.Buffered() < sizePrefix+fixedHeader {
			c.nc.SetReadDeadline(c.server.now().Add(c.idle))
		}
		if c.stopping.Load() {
			return preamble{}, net.ErrClosed
		}
		p, err := peekPreamble(c.in, c.limit)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.in.Buffered() == 0 && len(c.slots) > 0 && !c.stopping.Load() {
			continue
		}
		return p, err
	}
}

// decode parses header and body of x's frame.
func (c *conn) decode(x *exchange) error {
	body := kmsg.RequestForKey(int16(x.api.key))
	body.SetVersion(x.version)
	h, err := parseHeader(x.frame.b, body.IsFlexible())
	if err != nil {
		return err
	}
	if c.clientID != string(h.clientID) {
		c.clientID = string(h.clientID)
	}
	x.correlationID = h.correlationID
	x.flexible = body.IsFlexible()
	x.request = &request{Request: body, clientID: c.clientID, clientHost: c.host}
	return decodeBody(body, h.body, x.api.alias)
}

// start calls the handler and, if its answer comes later, waits for it on another goroutine.
func (c *conn) start(ctx context.Context, x *exchange) {
	c.server.metrics.inFlight.Inc()
	c.answers.expect(x)
	if x.ready {
		c.complete(x, x.reply)
		return
	}
	r := c.guard(x.api.key, func() reply { return x.api.handle(ctx, c.server, x.request) })
	if r.wait == nil {
		c.complete(x, r)
		return
	}
	c.waits.Go(func() {
		for r.wait != nil {
			wait := r.wait
			r = c.guard(x.api.key, func() reply { return wait(ctx) })
		}
		c.complete(x, r)
	})
}

// guard keeps a panic of a handler from taking the broker down: it ends the connection.
func (c *conn) guard(key kmsg.Key, f func() reply) (r reply) {
	defer func() {
		if p := recover(); p != nil {
			_ = c.server.panicked(p, key)
			r = reply{close: true}
		}
	}()
	return f()
}

// panicked logs and counts a panic in the code of one API.
func (s *Server) panicked(p any, key kmsg.Key) error {
	s.metrics.panics.Inc()
	s.log.Error("panic in a request handler", "api", key.Name(), "panic", p, "stack", string(debug.Stack()))
	return fmt.Errorf("panic in %s: %v", key.Name(), p)
}

// complete hands over the answer to x and gives its slot back.
func (c *conn) complete(x *exchange, r reply) {
	c.answers.complete(x, r)
	c.server.metrics.inFlight.Dec()
	<-c.slots
}
