// Package transport carries requests from one broker to another: the Kafka protocol over TCP, as a client speaks it. It implements replica.Dialer.
//
// A connection is for one owner: one goroutine sends while another receives, answers come in the order of the requests. Its read buffers are reused, so an
// answer's bytes stay only until the second next one is received: the owner handles one while the next one is read.
package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
	"varve/replica"
)

const (
	dialTimeout = 2 * time.Second
	sendTimeout = 10 * time.Second
	// maxAnswer bounds an answer, bytes: more than a leader sends (replica.fetch.response.max.bytes and one batch).
	maxAnswer  = 256 << 20
	readBuffer = 64 << 10
)

// Dialer connects to brokers by their advertised addresses. The zero value is ready.
type Dialer struct{}

// Dial connects; clientID is what the other broker's log and metrics show.
func (Dialer) Dial(ctx context.Context, b *metadata.Broker, clientID string) (replica.Conn, error) {
	addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	nc, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("broker %d: %w", b.ID, err)
	}
	return &conn{nc: nc, in: bufio.NewReaderSize(nc, readBuffer), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))}, nil
}

type conn struct {
	nc     net.Conn
	in     *bufio.Reader
	format *kmsg.RequestFormatter
	out    []byte    // the sender's
	bufs   [2][]byte // the receiver's, in turn
	turn   int

	mu struct {
		sync.Mutex
		next    int32
		waiting []expected
	}
}

// expected is a request that has no answer yet.
type expected struct {
	correlationID int32
	resp          kmsg.Response
}

func (c *conn) expect(req kmsg.Request) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.next++
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	c.mu.waiting = append(c.mu.waiting, expected{c.mu.next, resp})
	return c.mu.next
}

func (c *conn) oldest() (expected, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.waiting) == 0 {
		return expected{}, false
	}
	e := c.mu.waiting[0]
	c.mu.waiting = c.mu.waiting[1:]
	return e, true
}

// Send sends req in its version.
func (c *conn) Send(req kmsg.Request) error {
	c.out = c.format.AppendRequest(c.out[:0], req, c.expect(req))
	if err := c.nc.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(c.out)
	return err
}

// Receive returns the answer to the oldest request.
func (c *conn) Receive() (kmsg.Response, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > maxAnswer {
		return nil, fmt.Errorf("answer of %d bytes", size)
	}
	c.turn ^= 1
	b := c.bufs[c.turn]
	if uint32(cap(b)) < size {
		b = make([]byte, size)
		c.bufs[c.turn] = b
	}
	b = b[:size]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	e, ok := c.oldest()
	if id := int32(binary.BigEndian.Uint32(b)); !ok || id != e.correlationID {
		return nil, fmt.Errorf("an answer with correlation id %d, which was not asked for", id)
	}
	b = b[4:]
	if e.resp.IsFlexible() {
		if len(b) == 0 || b[0] != 0 { // no broker sends tags in the header
			return nil, fmt.Errorf("answer with tagged fields in its header")
		}
		b = b[1:]
	}
	if err := e.resp.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", e.resp, err)
	}
	return e.resp, nil
}

// Close ends the connection: what waits in Send or Receive returns.
func (c *conn) Close() error { return c.nc.Close() }
