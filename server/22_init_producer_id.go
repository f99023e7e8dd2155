package server

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.InitProducerID, min: 0, max: 5, handle: handleInitProducerID})

// prefetchTimeout is how long one client may wait for a block of ids that is not needed yet.
const prefetchTimeout = time.Second

// ProducerIDStore hands out blocks of producer ids [first, first+size) that nobody else gets.
type ProducerIDStore interface {
	ProducerIDBlock(ctx context.Context) (first, size int64, err error)
}

func handleInitProducerID(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if err := s.checkInitProducerID(req); err != nil {
		resp.ErrorCode = s.code(err)
		return answer(resp)
	}
	return later(func(ctx context.Context) reply {
		id, err := s.producerIDs.next(ctx)
		if err != nil {
			s.log.Warn("no producer ids", "error", err)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code // clients ask again, as when Kafka is fetching a block
			return answer(resp)
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
		return answer(resp)
	})
}

// checkInitProducerID refuses what the idempotent producer does not ask. Transactional ids have no coordinator yet: after Kafka's own
// checks they get TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the one code that every client reports at once instead of retrying.
func (s *Server) checkInitProducerID(req *kmsg.InitProducerIDRequest) error {
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		return kerr.InvalidRequest
	}
	if req.TransactionalID == nil {
		return nil
	}
	limit := s.cfg.Broker().TransactionMaxTimeoutMs
	switch {
	case *req.TransactionalID == "":
		return kerr.InvalidRequest
	case req.TransactionTimeoutMillis <= 0 || limit > 0 && int64(req.TransactionTimeoutMillis) > limit:
		return kerr.InvalidTransactionTimeout
	}
	return kerr.TransactionalIDAuthorizationFailed
}

// producerIDs hands out producer ids from a block. Whoever finds less than half of it left fetches the next one on its own time, so that
// the ids last for a while when the store does not answer.
type producerIDs struct {
	store ProducerIDStore
	fetch sync.Mutex // held by the one who asks the store; taken before mu
	mu    struct {
		sync.Mutex
		block, spare idBlock
	}
}

// idBlock is the ids [next, end).
type idBlock struct{ next, end, size int64 }

func newProducerIDs(store ProducerIDStore) *producerIDs { return &producerIDs{store: store} }

// next returns a producer id that was never given out.
func (p *producerIDs) next(ctx context.Context) (int64, error) {
	for {
		id, ok, low := p.take()
		if ok && low && p.fetch.TryLock() {
			// A failure shows when the block is empty.
			ctx, cancel := context.WithTimeout(ctx, prefetchTimeout)
			_ = p.refillLocked(ctx)
			cancel()
			p.fetch.Unlock()
		}
		if ok {
			return id, nil
		}
		p.fetch.Lock()
		err := p.refillLocked(ctx)
		p.fetch.Unlock()
		if err != nil {
			return 0, err
		}
	}
}

// take hands out a local id; low: there is no spare block and less than half of this one is left.
func (p *producerIDs) take() (id int64, ok, low bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.mu.block
	if b.next == b.end {
		*b, p.mu.spare = p.mu.spare, idBlock{}
	}
	if b.next == b.end {
		return 0, false, false
	}
	id = b.next
	b.next++
	return id, true, p.mu.spare.size == 0 && b.end-b.next < b.size/2
}

// refillLocked fetches the spare block, unless there is one. p.fetch is held.
func (p *producerIDs) refillLocked(ctx context.Context) error {
	p.mu.Lock()
	full := p.mu.spare.size > 0
	p.mu.Unlock()
	if full {
		return nil
	}
	first, size, err := p.store.ProducerIDBlock(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.spare = idBlock{next: first, end: first + size, size: size}
	return nil
}
