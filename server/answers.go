package server

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An exchange is one request and its answer.
type exchange struct {
	api           *api
	version       int16
	correlationID int32
	flexible      bool // tagged fields in headers and body
	frame         *frame
	request       *request
	started       time.Time
	metrics       *apiMetrics // nil: not counted

	// Guarded by answers.mu once the exchange is expected.
	reply reply
	ready bool
	next  *exchange
}

// refuseVersion prepares the answer to an ApiVersions request of a version that is not served: a body of version 0 with
// UNSUPPORTED_VERSION and the range of ApiVersions alone, from which the client learns how to ask again (KIP-511).
func (x *exchange) refuseVersion() error {
	h, err := parseHeader(x.frame.b, false)
	if err != nil {
		x.frame.release()
		return err
	}
	x.correlationID, x.version = h.correlationID, 0
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: int16(kmsg.ApiVersions), MinVersion: apiVersions.min, MaxVersion: apiVersions.max}}
	x.reply, x.ready = answer(resp), true
	return nil
}

// answers sends the answers of one connection in request order. There is no writer goroutine: whoever completes the oldest outstanding
// request writes its answer and those behind it that are complete too, so an answer that is ready at once costs no hand-over.
type answers struct {
	server  *Server
	nc      net.Conn
	out     *connWriter
	timeout time.Duration // for the peer to take what is sent

	mu struct {
		sync.Mutex
		head, tail *exchange
		writing    bool // somebody drains; only it may use out
		broken     bool // the connection is lost: answers are dropped
	}
}

// expect queues x. Called by the connection's reader, in request order.
func (a *answers) expect(x *exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.tail == nil {
		a.mu.head = x
	} else {
		a.mu.tail.next = x
	}
	a.mu.tail = x
}

func (a *answers) isBroken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.broken
}

// complete sets the answer of x and sends whatever may be sent now.
func (a *answers) complete(x *exchange, r reply) {
	a.mu.Lock()
	x.reply, x.ready = r, true
	if a.mu.writing || a.mu.head != x {
		a.mu.Unlock()
		return
	}
	a.mu.writing = true
	for {
		x := a.popLocked()
		broken := a.mu.broken
		if x == nil && (broken || len(a.out.buf) == 0) {
			a.mu.writing = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		lost := a.advance(x, broken)
		a.mu.Lock()
		a.mu.broken = a.mu.broken || lost
	}
}

// popLocked takes the oldest exchange if its answer is there.
func (a *answers) popLocked() *exchange {
	x := a.mu.head
	if x == nil || !x.ready {
		return nil
	}
	if a.mu.head = x.next; a.mu.head == nil {
		a.mu.tail = nil
	}
	return x
}

// advance writes x, or flushes when there is none, and reports whether the connection is lost.
func (a *answers) advance(x *exchange, broken bool) (lost bool) {
	if x == nil {
		a.nc.SetWriteDeadline(time.Now().Add(a.timeout))
		if err := a.out.flush(); err != nil {
			a.nc.Close()
			return true
		}
		return false
	}
	defer x.frame.release()
	if x.reply.writer != nil {
		defer x.reply.writer.release()
	}
	if broken {
		return true
	}
	size, err := a.write(x)
	if x.metrics != nil {
		x.metrics.done(x.started, size)
	}
	if err != nil || x.reply.close {
		a.out.flush()
		a.nc.Close()
		return true
	}
	return false
}

// write encodes the answer of x: size, correlation id, tagged fields of the header if any, body. The header of ApiVersions never has
// tagged fields, so that a client that does not know yet what the broker speaks can read it.
func (a *answers) write(x *exchange) (size int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.server.panicked(p, x.api.key)
		}
	}()
	tags := 0
	if x.flexible && x.api != apiVersions {
		tags = 1
	}
	switch r := x.reply; {
	case r.writer != nil:
		size = 4 + tags + r.writer.size()
		a.out.buf = appendHeader(a.out.buf, size, x.correlationID, tags)
		a.nc.SetWriteDeadline(time.Now().Add(a.timeout))
		if err := r.writer.write(a.out); err != nil {
			return 0, fmt.Errorf("sending %s: %w", kmsg.NameForKey(int16(x.api.key)), err)
		}
	case r.message != nil:
		r.message.SetVersion(x.version)
		start := len(a.out.buf)
		b := r.message.AppendTo(appendHeader(a.out.buf, 0, x.correlationID, tags))
		size = len(b) - start - sizePrefix
		binary.BigEndian.PutUint32(b[start:], uint32(size))
		a.out.buf = b
	default:
		return 0, nil
	}
	return sizePrefix + size, nil
}

// appendHeader appends size and response header (version 1 with tags, else 0).
func appendHeader(b []byte, size int, correlationID int32, tags int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, uint32(correlationID))
	return append(b, make([]byte, tags)...)
}
