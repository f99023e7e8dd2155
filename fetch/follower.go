package fetch

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/replica"
)

// hwInterval is how often a follower is told the high watermarks of partitions that have no records for it: it needs them only when it leads next, or when
// consumers read from it.
const hwInterval = 500 * time.Millisecond

// askMargin is how late a follower's next fetch must be for the follower to be suspected: it may be writing what it got.
const askMargin = time.Second

// Followers are the fetch sessions of the followers of partitions that this broker leads. They cost work only for partitions with news: an append puts its
// partition into the queues of the sessions that follow it. Safe for concurrent use.
type Followers struct {
	partitions *replica.Manager
	gone       func(metadata.BrokerID)
	mu         struct {
		sync.Mutex
		byID     map[int32]*FollowerSession
		byClient map[string]*FollowerSession
	}
}

// NewFollowers returns the sessions over m's partitions. gone is called when a follower's connection ended, or it does not ask
// again: it may be dead. It may be nil and must not block.
func NewFollowers(m *replica.Manager, gone func(metadata.BrokerID)) *Followers {
	f := &Followers{partitions: m, gone: gone}
	f.mu.byID, f.mu.byClient = map[int32]*FollowerSession{}, map[string]*FollowerSession{}
	return f
}

// FollowerRequest is one fetch of a follower. A session begins with SessionID 0 and SessionEpoch 0; the following requests name what changed.
type FollowerRequest struct {
	Broker                  metadata.BrokerID
	Epoch                   metadata.BrokerEpoch
	Client                  string // one session for each
	SessionID, SessionEpoch int32
	MaxWait                 time.Duration
	MinBytes, MaxBytes      int
	Partitions              []PartitionRequest
	Forgotten               []metadata.TopicPartition
}

// FollowerResult is what there is to tell of one partition. After an error or a diverging epoch the session has forgotten the partition.
type FollowerResult struct {
	TopicPartition metadata.TopicPartition
	PartitionResult
}

// FollowerSession is one follower's fetch session.
type FollowerSession struct {
	ID        int32
	followers *Followers
	client    string
	broker    metadata.BrokerID
	wake      chan struct{} // capacity 1: queue

	doubt *time.Timer // fires when the follower does not ask again

	serving sync.Mutex     // held while a request is taken in or answered, not while one waits; guards what follows
	current *FollowerFetch // the latest request: what is queued is for its answer
	epoch   int32          // of the next request
	entries map[metadata.TopicPartition]*followed
	told    time.Time // when high watermarks were told last
	closed  bool

	mu struct {
		sync.Mutex
		queue  []*followed
		parked chan struct{} // of the request that waits; closed to have it answered at once
	}
}

// followed is one partition of a session.
type followed struct {
	request   PartitionRequest
	partition *replica.Partition
	result    *PartitionResult // known already: an error or a diverging epoch
	toldHW    int64

	queued  bool // in the session's queue; guarded by the session's mu
	waiting bool // for records beyond the offset; guarded by the session's mu
	removed bool // guarded by serving
}

// Begin takes in a request; requests of one session come in order. It counts the request as the acknowledgement of everything below its offsets. The
// session ends with ctx, which is the connection's. FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH.
func (f *Followers) Begin(ctx context.Context, req *FollowerRequest, now time.Time) (*FollowerFetch, error) {
	s, old, err := f.session(ctx, req)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.close()
	}
	s.doubt.Reset(req.MaxWait + askMargin)
	x := &FollowerFetch{s: s, req: req, parked: make(chan struct{})}
	s.mu.Lock()
	if s.mu.parked != nil {
		close(s.mu.parked)
	}
	s.mu.parked = x.parked
	s.mu.Unlock()

	s.serving.Lock()
	defer s.serving.Unlock()
	if req.SessionEpoch != s.epoch || s.closed {
		return nil, kerr.InvalidFetchSessionEpoch
	}
	if s.epoch++; s.epoch <= 0 {
		s.epoch = 1
	}
	s.current = x
	for _, key := range req.Forgotten {
		s.remove(key)
	}
	for i := range req.Partitions {
		s.ask(&req.Partitions[i], req.Epoch, now)
	}
	return x, nil
}

// session finds the session of a request or begins one, in place of old.
func (f *Followers) session(ctx context.Context, req *FollowerRequest) (s, old *FollowerSession, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.SessionEpoch != 0 {
		s = f.mu.byID[req.SessionID]
		if s == nil || s.broker != req.Broker {
			return nil, nil, kerr.FetchSessionIDNotFound
		}
		return s, nil, nil
	}
	if old = f.mu.byClient[req.Client]; old != nil {
		delete(f.mu.byID, old.ID)
	}
	s = &FollowerSession{followers: f, client: req.Client, broker: req.Broker, wake: make(chan struct{}, 1), entries: map[metadata.TopicPartition]*followed{}}
	for s.ID == 0 || f.mu.byID[s.ID] != nil {
		s.ID = 1 + rand.Int32N(math.MaxInt32-1)
	}
	f.mu.byID[s.ID], f.mu.byClient[req.Client] = s, s
	s.doubt = time.AfterFunc(req.MaxWait+askMargin, func() { f.doubted(s) })
	context.AfterFunc(ctx, func() { f.end(s) })
	return s, old, nil
}

// doubted suspects a follower that has not asked again for long, again and again until it does or its connection ends.
func (f *Followers) doubted(s *FollowerSession) {
	if f.gone != nil {
		f.gone(s.broker)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.byID[s.ID] == s {
		s.doubt.Reset(askMargin)
	}
}

func (f *Followers) end(s *FollowerSession) {
	s.doubt.Stop()
	f.mu.Lock()
	delete(f.mu.byID, s.ID)
	if f.mu.byClient[s.client] == s {
		delete(f.mu.byClient, s.client)
	}
	f.mu.Unlock()
	if f.gone != nil {
		f.gone(s.broker)
	}
	s.close()
}

func (s *FollowerSession) close() {
	s.serving.Lock()
	defer s.serving.Unlock()
	s.closed = true
	for key := range s.entries {
		s.remove(key)
	}
}

// remove forgets a partition. REQUIRES: serving.
func (s *FollowerSession) remove(key metadata.TopicPartition) {
	e := s.entries[key]
	if e == nil {
		return
	}
	delete(s.entries, key)
	e.removed = true
	if e.partition != nil {
		e.partition.Unwatch(s.broker, e)
	}
}

// ask takes in what the follower asks of one partition. REQUIRES: serving.
func (s *FollowerSession) ask(p *PartitionRequest, epoch metadata.BrokerEpoch, now time.Time) {
	e := s.entries[p.TopicPartition]
	if e == nil {
		e = &followed{toldHW: -1}
		s.entries[p.TopicPartition] = e
	}
	e.request, e.result = *p, nil
	partition, diverging, err := s.acknowledge(e, epoch, now)
	if partition != nil && e.partition != partition {
		e.partition = partition
		partition.Watch(s.broker, e, func() { s.news(e) })
	}
	if err != nil || diverging != nil {
		e.result = diverging
		if err != nil {
			e.result = failed(err)
		}
	}
	s.enqueue(e)
}

// acknowledge checks a fetch and counts it as an acknowledgement.
func (s *FollowerSession) acknowledge(e *followed, epoch metadata.BrokerEpoch, now time.Time) (p *replica.Partition, diverging *PartitionResult, err error) {
	if p, err = s.followers.partitions.Partition(e.request.TopicPartition); err != nil {
		return nil, nil, err
	}
	if err = p.CheckLeader(e.request.CurrentLeaderEpoch); err != nil {
		return p, nil, err
	}
	o := p.Offsets()
	at, err := diverges(p.Log(), &e.request, o.LogStart)
	if err != nil {
		return p, nil, err
	}
	if at != nil {
		return p, &PartitionResult{Diverging: at, HighWatermark: o.HighWatermark, LastStable: o.LastStable, LogStart: o.LogStart}, nil
	}
	switch offset := e.request.Offset; {
	case offset < o.LogStart || offset > p.Log().End():
		return p, nil, fmt.Errorf("%w: offset %d is not in [%d, %d]", kerr.OffsetOutOfRange, offset, o.LogStart, p.Log().End())
	case offset < o.LocalStart:
		return p, nil, kerr.OffsetMovedToTieredStorage
	}
	return p, nil, p.ReplicaFetched(s.broker, epoch, e.request.Offset, now)
}

func failed(err error) *PartitionResult {
	return &PartitionResult{Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1}
}

// news is the partition's callback: it has records, or another leader. It must not block.
func (s *FollowerSession) news(e *followed) {
	s.mu.Lock()
	if !e.waiting || e.queued {
		s.mu.Unlock()
		return
	}
	s.pushLocked(e)
	s.mu.Unlock()
	s.signal()
}

func (s *FollowerSession) enqueue(e *followed) {
	s.mu.Lock()
	if !e.queued {
		s.pushLocked(e)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *FollowerSession) pushLocked(e *followed) {
	e.queued, e.waiting = true, false
	s.mu.queue = append(s.mu.queue, e)
}

func (s *FollowerSession) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pop takes the first partition off the queue. It waits for news from here on: what comes while it is being read queues it again.
func (s *FollowerSession) pop() *followed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.queue) == 0 {
		s.mu.queue = nil
		return nil
	}
	e := s.mu.queue[0]
	s.mu.queue = s.mu.queue[1:]
	e.queued, e.waiting = false, true
	return e
}

// sent notes that the follower will ask again for e: news do not matter until then.
func (s *FollowerSession) sent(e *followed) {
	s.mu.Lock()
	e.waiting = false
	s.mu.Unlock()
}

// FollowerFetch is a request that was taken in and is to be answered.
type FollowerFetch struct {
	s      *FollowerSession
	req    *FollowerRequest
	parked chan struct{}
}

// Session is the session that the answer names.
func (x *FollowerFetch) Session() int32 { return x.s.ID }

// Ready answers if there is something to tell at once, else nil.
func (x *FollowerFetch) Ready(now time.Time) []FollowerResult {
	results, _ := x.collect(now, false)
	return results
}

// Wait answers when there are records, after MaxWait, or when the session's next request has come.
func (x *FollowerFetch) Wait(ctx context.Context) []FollowerResult {
	timer := time.NewTimer(x.req.MaxWait)
	defer timer.Stop()
	for {
		results, current := x.collect(time.Now(), false)
		if len(results) > 0 {
			return results
		}
		if !current {
			x.s.signal() // the wake-up was meant for the next request
			return nil
		}
		select {
		case <-x.s.wake:
		case <-timer.C:
			results, _ = x.collect(time.Now(), true)
			return results
		case <-x.parked:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// collect reads what the queued partitions have, in turn, as far as the request's size goes: what does not fit stays queued for the next. The holder releases
// the results' records. Nothing is collected when the session's next request has come: the follower takes what the answer to an earlier one says of a
// partition that it has asked for anew as out of date, and would wait for ever.
func (x *FollowerFetch) collect(now time.Time, timeout bool) (results []FollowerResult, current bool) {
	s, req := x.s, x.req
	s.serving.Lock()
	defer s.serving.Unlock()
	if s.current != x {
		return nil, false
	}
	left := req.MaxBytes
	for left > 0 {
		e := s.pop()
		if e == nil {
			break
		}
		if e.removed {
			continue
		}
		r, ok, full := s.read(e, left, left == req.MaxBytes, now)
		if full {
			break
		}
		if !ok {
			continue
		}
		left -= r.Records.Bytes
		results = append(results, FollowerResult{e.request.TopicPartition, r})
	}
	if (len(results) > 0 || timeout) && now.Sub(s.told) >= hwInterval {
		s.told = now
		results = s.tellHighWatermarks(results)
	}
	return results, true
}

// read reads from one partition; ok: there is something to tell; full: there is, and it is more than left.
func (s *FollowerSession) read(e *followed, left int, minOne bool, now time.Time) (r PartitionResult, ok, full bool) {
	if e.result == nil {
		err := e.partition.CheckLeader(e.request.CurrentLeaderEpoch)
		if err != nil {
			e.result = failed(err)
		}
	}
	if e.result == nil {
		log := e.partition.Log()
		o := e.partition.Offsets()
		end := log.End()
		if e.request.Offset >= end {
			return r, false, false
		}
		if wait := e.partition.LeaderOwes(s.broker, now); wait > 0 {
			s.sent(e)
			time.AfterFunc(wait, func() { s.enqueue(e) })
			return r, false, false
		}
		records, err := log.Read(e.request.Offset, end, min(e.request.MaxBytes, left), minOne)
		if err == nil && records.Bytes == 0 {
			s.enqueue(e)
			return r, false, true
		}
		if err == nil {
			s.sent(e)
			e.partition.LeaderSent(s.broker, records.Bytes, now)
			e.toldHW = o.HighWatermark
			return PartitionResult{HighWatermark: o.HighWatermark, LastStable: o.LastStable, LogStart: o.LogStart, Records: records}, true, false
		}
		e.result = failed(err)
	}
	s.remove(e.request.TopicPartition)
	return *e.result, true, false
}

// tellHighWatermarks adds the partitions whose high watermark has moved since it was told.
func (s *FollowerSession) tellHighWatermarks(results []FollowerResult) []FollowerResult {
	for key, e := range s.entries {
		if e.partition == nil || e.result != nil {
			continue
		}
		if o := e.partition.Offsets(); o.HighWatermark != e.toldHW {
			e.toldHW = o.HighWatermark
			results = append(results, FollowerResult{key, PartitionResult{HighWatermark: o.HighWatermark, LastStable: o.LastStable, LogStart: o.LogStart}})
		}
	}
	return results
}
