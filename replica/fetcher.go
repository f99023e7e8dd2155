package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// A Dialer connects to other brokers. Implemented by replica/transport.
type Dialer interface {
	Dial(ctx context.Context, b *metadata.Broker, clientID string) (Conn, error)
}

// A Conn is a connection to another broker. One goroutine may send while another receives; Close ends both.
type Conn interface {
	Send(req kmsg.Request) error
	// Receive returns the answer to the oldest request that has none yet. Its bytes stay until the second next call.
	Receive() (kmsg.Response, error)
	Close() error
}

const (
	leastPause = 20 * time.Millisecond // before a partition or a connection is tried again; doubles
	mostPause  = time.Second
	// silenceLimit is how long a leader may leave a fetch unanswered before the connection is given up (replica.socket.timeout.ms).
	silenceLimit = 30 * time.Second
	// answerMargin is how late a leader's answer must be for the leader to be suspected.
	answerMargin = time.Second
	// fetchVersion is the version of Fetch between brokers: topics by id, the follower's broker epoch.
	fetchVersion = 17
)

// fetcherID names one of the fetchers of this broker: num.replica.fetchers for each leader.
type fetcherID struct {
	leader metadata.BrokerID
	index  int
}

// fetcher copies the partitions that follow one broker, over one connection, with one fetch session (KIP-227). Its goroutine owns everything but the inbox.
//
// A fetch asks from each log's durable end on, so asking is acknowledging. While a fetch waits at the leader and a partition has come or gone, the next one is
// sent after it: the leader then answers the waiting one at once.
type fetcher struct {
	m    *Manager
	id   fetcherID
	kick chan struct{} // capacity 1: inbox
	mu   struct {
		sync.Mutex
		inbox map[metadata.TopicPartition]*following // nil value: no more
	}
	parts map[metadata.TopicPartition]*following
	pause time.Duration // before the next try to connect
}

func newFetcher(m *Manager, id fetcherID) *fetcher {
	f := &fetcher{m: m, id: id, kick: make(chan struct{}, 1), parts: map[metadata.TopicPartition]*following{}}
	f.mu.inbox = map[metadata.TopicPartition]*following{}
	return f
}

// post hands a partition over, nil: takes it away.
func (f *fetcher) post(key metadata.TopicPartition, x *following) {
	f.mu.Lock()
	f.mu.inbox[key] = x
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

func (f *fetcher) run() {
	for f.m.ctx.Err() == nil {
		f.receive(nil)
		if len(f.parts) == 0 {
			select {
			case <-f.kick:
			case <-f.m.ctx.Done():
			}
			continue
		}
		err := f.connect()
		if f.m.ctx.Err() != nil || err == nil {
			continue
		}
		f.m.metrics.fetcherFailures.Inc()
		f.m.cfg.Logger.Info("fetching from a leader failed, will be tried again", "leader", f.id.leader, "partitions", len(f.parts), "error", err)
		if gone(err) && f.m.cfg.Suspect != nil {
			f.m.cfg.Suspect(f.id.leader)
		}
		f.pause = min(max(2*f.pause, leastPause), mostPause)
		select {
		case <-time.After(f.pause):
		case <-f.m.ctx.Done():
		}
	}
}

// gone reports that a connection ended in a way that a dying process leaves behind.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}

// receive takes in what came and went; s, if not nil, is the session that has to hear of it.
func (f *fetcher) receive(s *fetchSession) {
	f.mu.Lock()
	inbox := f.mu.inbox
	f.mu.inbox = map[metadata.TopicPartition]*following{}
	f.mu.Unlock()
	for key, x := range inbox {
		if x == nil {
			delete(f.parts, key)
			if s != nil {
				s.forget(key)
			}
			continue
		}
		x.sentIn = unasked // an answer that comes before it is asked for is about its predecessor
		f.parts[key] = x
		if s != nil {
			s.ask(key)
		}
	}
}

// connect fetches over one connection until it breaks or there is nothing more to fetch.
func (f *fetcher) connect() error {
	b := f.m.image.Load().Brokers[f.id.leader]
	if b == nil {
		return fmt.Errorf("broker %d is not registered", f.id.leader)
	}
	ctx, cancel := context.WithCancel(f.m.ctx)
	defer cancel()
	conn, err := f.m.cfg.Dialer.Dial(ctx, b, fmt.Sprintf("broker-%d-fetcher-%d", f.m.cfg.Self, f.id.index))
	if err != nil {
		return err
	}
	answers := make(chan received)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends what the reader waits for
	defer stop()
	reader.Go(func() { receiveAll(ctx, conn, answers) })
	return f.session(ctx, conn, answers)
}

type received struct {
	resp kmsg.Response
	err  error
}

func receiveAll(ctx context.Context, conn Conn, to chan<- received) {
	for {
		resp, err := conn.Receive()
		select {
		case to <- received{resp, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// session drives one fetch session.
func (f *fetcher) session(ctx context.Context, conn Conn, answers <-chan received) error {
	s := &fetchSession{f: f, dirty: map[metadata.TopicPartition]bool{}}
	for key := range f.parts {
		s.ask(key)
	}
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	patience := f.m.cfg.Broker().ReplicaFetchWaitMax + answerMargin
	doubt := time.NewTimer(patience)
	defer doubt.Stop()
	for {
		f.receive(s)
		retry := s.askDue(time.Now())
		if len(f.parts) == 0 && s.inFlight == 0 {
			return nil
		}
		if s.inFlight == 0 || s.inFlight == 1 && s.id != 0 && len(s.dirty) > 0 {
			if err := conn.Send(s.request()); err != nil {
				return err
			}
		}
		select {
		case <-silence.C:
			return fmt.Errorf("%w: no answer for %v", context.DeadlineExceeded, silenceLimit)
		case <-doubt.C:
			doubt.Reset(answerMargin)
			if s.inFlight > 0 && f.m.cfg.Suspect != nil {
				f.m.cfg.Suspect(f.id.leader)
			}
		case r := <-answers:
			silence.Reset(silenceLimit)
			doubt.Reset(patience)
			if r.err != nil {
				return r.err
			}
			f.pause = 0
			s.inFlight--
			if err := s.answered(ctx, r.resp.(*kmsg.FetchResponse)); err != nil {
				return err
			}
		case <-f.kick:
		case <-retry:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// retryLater has a partition asked for again after a pause.
func (x *following) retryLater(now time.Time) {
	x.pause = min(max(2*x.pause, leastPause), mostPause)
	x.retryAt = now.Add(x.pause)
}

// leaderEdges asks a leader where its log and its local log begin, and where it ends.
func leaderEdges(conn Conn, x *following) (e struct{ start, localStart, end int64 }, err error) {
	for _, q := range []struct {
		timestamp int64
		into      *int64
	}{{-2, &e.start}, {-4, &e.localStart}, {-1, &e.end}} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID = 8, int32(x.p.manager.cfg.Self)
		t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		t.Topic, p.Partition, p.CurrentLeaderEpoch, p.Timestamp = x.p.topic, x.p.key.Partition, x.epoch, q.timestamp
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		if err := conn.Send(req); err != nil {
			return e, err
		}
		answer, err := conn.Receive()
		if err != nil {
			return e, err
		}
		resp, ok := answer.(*kmsg.ListOffsetsResponse)
		if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return e, fmt.Errorf("%w: answer to ListOffsets: %+v", kerr.UnknownServerError, answer)
		}
		if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
			return e, err
		}
		*q.into = resp.Topics[0].Partitions[0].Offset
	}
	return e, nil
}

func compareKeys(a, b metadata.TopicPartition) int {
	return cmp.Or(slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
}
