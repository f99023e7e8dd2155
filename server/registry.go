package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An api is one Kafka API: its key, the versions that ApiVersions advertises and its handler. Each lives in a file of its own,
// NN_name.go, that registers it; ApiVersions, the dispatch and docs/apis.md are derived from the registry.
type api struct {
	key      kmsg.Key
	min, max int16
	// served is the lowest version really served, when min is advertised lower for old clients' sake (Produce).
	served int16
	// alias makes the strings of the decoded request slices of a pooled frame, as its bytes are: nothing of the request may be kept
	// once its reply has been written. Only for the data path, where a copy of each name costs. Without it the request is ordinary memory.
	alias  bool
	handle func(ctx context.Context, s *Server, r *request) reply
}

// A request is one decoded request. Its record bytes (and with api.alias its strings) alias the frame, which lives until the reply has
// been written; releasing it is the connection's business.
type request struct {
	kmsg.Request        // decoded body, version set
	clientID     string // empty when null
	clientHost   string // peer address without port
}

// A reply is what a handler answers: now (message or writer), later (wait), or never (none).
// Handlers of one connection run one after another in request order; wait runs on a goroutine of its own, so that a request that
// waits does not hold back the next; answers are written in request order all the same. ctx ends when the connection does.
type reply struct {
	message kmsg.Response // its version is set by the connection
	// writer encodes and sends the body itself (Fetch): no copy of record bytes.
	writer bodyWriter
	wait   func(ctx context.Context) reply
	none   bool // acks=0
	close  bool // close the connection, after the message if there is one (acks=0 with an error, broken request)
}

func answer(m kmsg.Response) reply                     { return reply{message: m} }
func later(wait func(ctx context.Context) reply) reply { return reply{wait: wait} }

// A bodyWriter sends a response body whose size it knows. size excludes the response header. write is called at most once; release always, after it.
type bodyWriter interface {
	size() int
	write(w *connWriter) error
	release()
}

var registry = map[int16]*api{}

// register adds an API; it is called from package-level variables of the NN_name.go files.
func register(a api) *api {
	if _, dup := registry[int16(a.key)]; dup {
		panic("server: API registered twice: " + kmsg.NameForKey(int16(a.key)))
	}
	if a.served < a.min {
		a.served = a.min
	}
	registry[int16(a.key)] = &a
	return &a
}
