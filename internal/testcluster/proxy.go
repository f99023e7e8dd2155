package testcluster

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Cut is what a Proxy does to the connections that it does not pass on.
type Cut int8

const (
	// Refused connections are closed, and so are new ones, at once: a process or a firewall says no.
	Refused Cut = iota
	// Silent connections stay open and nothing comes through, in either direction, until Heal: a network that swallows packets. What
	// was sent meanwhile arrives then, as TCP's retransmissions would.
	Silent
)

// A Proxy passes TCP connections on to an address, until it is told not to. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu struct {
		sync.Mutex
		changed *sync.Cond
		conns   map[*proxied]bool
		cut     bool
		how     Cut
		pids    []int // whose connections are cut; nil: everybody's
		round   int   // counts Cut
		closed  bool
	}
}

// proxied is one connection through a Proxy.
type proxied struct {
	client, server net.Conn // server is nil until it is connected
	port           int      // the client's
	judged         int      // the round that cut is of
	cut            bool
}

// StartProxy runs a proxy to target until the test ends.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: l}
	p.mu.changed = sync.NewCond(&p.mu)
	p.mu.conns = map[*proxied]bool{}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens: host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut stops passing on the connections of the processes given, or all without any. It replaces an earlier Cut.
func (p *Proxy) Cut(how Cut, pids ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cut, p.mu.how, p.mu.pids = true, how, slices.Clone(pids)
	p.mu.round++
	if how == Refused {
		for c := range p.mu.conns {
			if p.cutsLocked(c) {
				c.close()
			}
		}
	}
	p.mu.changed.Broadcast()
}

// Heal passes everything on again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cut = false
	p.mu.changed.Broadcast()
}

// cutsLocked reports whether c is one of the connections that are cut. Whose it is, is looked up once.
func (p *Proxy) cutsLocked(c *proxied) bool {
	if !p.mu.cut || len(p.mu.pids) == 0 {
		return p.mu.cut
	}
	if c.judged != p.mu.round {
		c.judged = p.mu.round
		c.cut = ownsConnection(p.mu.pids, c.port, p.listener.Addr().(*net.TCPAddr).Port)
	}
	return c.cut
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		c := &proxied{client: client, port: client.RemoteAddr().(*net.TCPAddr).Port}
		p.mu.Lock()
		refuse := p.mu.closed || p.cutsLocked(c) && p.mu.how == Refused
		if !refuse {
			p.mu.conns[c] = true
		}
		p.mu.Unlock()
		if refuse {
			c.close()
			continue
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// serve passes one connection on until either side ends it.
func (p *Proxy) serve(c *proxied) {
	defer func() {
		p.mu.Lock()
		delete(p.mu.conns, c)
		c.close()
		p.mu.Unlock()
	}()
	if !p.pass(c) {
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	p.mu.Lock()
	c.server = server
	closed := p.mu.closed
	p.mu.Unlock()
	if closed {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { p.copy(c, c.client, server) })
	p.copy(c, server, c.client)
	back.Wait()
}

// copy passes bytes from src to dst, and ends the connection when there are no more.
func (p *Proxy) copy(c *proxied, dst io.Writer, src io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && !p.pass(c) {
			break
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			break
		}
	}
	p.mu.Lock()
	c.close()
	p.mu.Unlock()
}

// pass waits while c is cut silently; false: c is to end.
func (p *Proxy) pass(c *proxied) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.mu.closed && p.mu.how == Silent && p.cutsLocked(c) {
		p.mu.changed.Wait()
	}
	return !p.mu.closed && !p.cutsLocked(c)
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.mu.closed = true
	for c := range p.mu.conns {
		c.close()
	}
	p.mu.changed.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
}

// close ends both sides; again is no harm.
func (c *proxied) close() {
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}
