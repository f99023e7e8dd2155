package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/metadata"
)

// unasked is the number of a request that is not sent yet.
const unasked = math.MaxInt64

// fetchSession is the follower's side of a fetch session: what the leader has been told, and what it has to be told with the next request.
type fetchSession struct {
	f        *fetcher
	id       int32
	epoch    int32 // of the next request
	sent     int64 // requests so far
	answers  int64 // answers so far
	inFlight int

	dirty map[metadata.TopicPartition]bool // true: to be asked for (again), false: no more
}

// ask has the next request ask for a partition. What is answered until then is about something else: a fetch that is under way repeats what this one has
// brought, or speaks of an earlier leader epoch.
func (s *fetchSession) ask(key metadata.TopicPartition) {
	s.dirty[key] = true
	if x := s.f.parts[key]; x != nil {
		x.sentIn = unasked
	}
}

func (s *fetchSession) forget(key metadata.TopicPartition) { s.dirty[key] = false }

// askDue asks again for the partitions whose pause is over, and returns when the next one's is; nil: none.
func (s *fetchSession) askDue(now time.Time) <-chan time.Time {
	var next time.Time
	for key, x := range s.f.parts {
		switch {
		case x.retryAt.IsZero():
		case !now.Before(x.retryAt):
			x.retryAt = time.Time{}
			s.ask(key)
		case next.IsZero() || x.retryAt.Before(next):
			next = x.retryAt
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(next.Sub(now))
}

// request makes the next fetch: of everything to begin a session, else of what changed.
func (s *fetchSession) request() *kmsg.FetchRequest {
	cfg := s.f.m.cfg.Broker()
	req := kmsg.NewPtrFetchRequest()
	req.Version = fetchVersion
	req.ReplicaID = -1
	req.ReplicaState.ID, req.ReplicaState.Epoch = int32(s.f.m.cfg.Self), int64(s.f.m.cfg.Epoch())
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(cfg.ReplicaFetchWaitMax.Milliseconds()), 1, cfg.ReplicaFetchResponseMaxBytes
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	if s.epoch == 0 {
		for key := range s.f.parts {
			s.ask(key)
		}
	}
	s.sent++
	for _, key := range slices.SortedFunc(maps.Keys(s.dirty), compareKeys) {
		x := s.f.parts[key]
		switch {
		case s.dirty[key] && x != nil && x.retryAt.IsZero():
			if l := x.p.log.Load(); l.Durable() < l.End() { // asking from the end would acknowledge what is not on the disk
				x.retryLater(time.Now())
				continue
			}
			x.sentIn = s.sent
			appendAsked(req, key, x, cfg.ReplicaFetchMaxBytes)
		case !s.dirty[key] && x == nil && s.epoch != 0:
			appendForgotten(req, key)
		}
	}
	clear(s.dirty)
	s.inFlight++
	if s.epoch++; s.epoch <= 0 {
		s.epoch = 1
	}
	return req
}

func appendAsked(req *kmsg.FetchRequest, key metadata.TopicPartition, x *following, maxBytes int32) {
	l := x.p.log.Load()
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.PartitionMaxBytes = key.Partition, x.epoch, maxBytes
	p.FetchOffset, p.LogStartOffset, p.LastFetchedEpoch = l.End(), l.LogStart(), l.LastEpoch()
	n := len(req.Topics)
	if n == 0 || req.Topics[n-1].TopicID != key.TopicID {
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = key.TopicID
		req.Topics = append(req.Topics, t)
		n++
	}
	req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
}

func appendForgotten(req *kmsg.FetchRequest, key metadata.TopicPartition) {
	n := len(req.ForgottenTopics)
	if n == 0 || req.ForgottenTopics[n-1].TopicID != key.TopicID {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.TopicID = key.TopicID
		req.ForgottenTopics = append(req.ForgottenTopics, t)
		n++
	}
	req.ForgottenTopics[n-1].Partitions = append(req.ForgottenTopics[n-1].Partitions, key.Partition)
}

// appended is what one answer brought to one log.
type appended struct {
	x   *following
	end int64
	hw  int64
}

// answered takes in an answer. It returns when all that it brought is on the disk, so that the next request may say so.
func (s *fetchSession) answered(ctx context.Context, resp *kmsg.FetchResponse) error {
	s.answers++
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case errors.Is(err, kerr.FetchSessionIDNotFound), errors.Is(err, kerr.InvalidFetchSessionEpoch):
		if s.inFlight > 0 {
			return err // answers of the session that is gone are still to come: connect anew
		}
		s.id, s.epoch = 0, 0
		return nil
	case err != nil:
		return err
	}
	s.id = resp.SessionID
	var news []appended
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			key := metadata.TopicPartition{TopicID: t.TopicID, Partition: t.Partitions[j].Partition}
			x := s.f.parts[key]
			if x == nil || x.sentIn > s.answers {
				continue // it came or went meanwhile
			}
			if a, ok := s.take(key, x, &t.Partitions[j]); ok {
				news = append(news, a)
			}
		}
	}
	for _, a := range news {
		if !s.f.m.awaitDurable(ctx, a.x.p, a.end) {
			a.x.retryLater(time.Now()) // its disk is full, or dead: the others go on
			continue
		}
		a.x.p.told(a.x.epoch, a.hw)
	}
	return ctx.Err()
}

// take brings one partition's answer to its log; ok: something was appended.
func (s *fetchSession) take(key metadata.TopicPartition, x *following, p *kmsg.FetchResponseTopicPartition) (a appended, ok bool) {
	var err error
	switch code := kerr.ErrorForCode(p.ErrorCode); {
	case code != nil:
		s.refused(key, x, code)
		return a, false
	case p.DivergingEpoch.Epoch >= 0 || p.DivergingEpoch.EndOffset >= 0:
		err = x.p.diverge(x.epoch, commitlog.EpochEntry{Epoch: p.DivergingEpoch.Epoch, StartOffset: p.DivergingEpoch.EndOffset})
		s.ask(key)
	case len(p.RecordBatches) > 0:
		a = appended{x: x, hw: p.HighWatermark}
		if a.end, err = x.p.replicate(x.epoch, p.RecordBatches); err == nil {
			s.f.m.metrics.replicationBytesIn.Add(float64(len(p.RecordBatches)))
			x.pause, ok = 0, true
		}
		now := time.Now()
		if wait := x.p.followerOwes(len(p.RecordBatches), now); wait > 0 {
			x.retryAt = now.Add(wait)
		}
		s.ask(key)
	default:
		x.p.told(x.epoch, p.HighWatermark)
	}
	switch {
	case errors.Is(err, errNotFollowing):
		s.drop(key)
	case err != nil && x.p.failedLocally(err):
		s.drop(key)
	case err != nil:
		s.f.m.cfg.Logger.Warn("a leader's records were not appended, will be tried again", "topic", x.p.topic, "partition", key.Partition, "leader", s.f.id.leader, "error", err)
		x.retryLater(time.Now())
	}
	return a, ok && err == nil
}

// drop leaves a partition out until the image says whom it follows.
func (s *fetchSession) drop(key metadata.TopicPartition) {
	delete(s.f.parts, key)
	s.forget(key)
}

// refused deals with an error of one partition. The leader has forgotten the partition, so it is asked for again.
func (s *fetchSession) refused(key metadata.TopicPartition, x *following, err error) {
	switch {
	case errors.Is(err, kerr.FencedLeaderEpoch):
		s.drop(key)
	case errors.Is(err, kerr.OffsetOutOfRange), errors.Is(err, kerr.OffsetMovedToTieredStorage):
		s.drop(key)
		s.f.m.running.Go(func() { s.f.restart(key, x) })
	default:
		x.retryLater(time.Now())
	}
}

// restart finds a new beginning for a log of which the leader does not have the end, off the fetcher's goroutine: it may read from the bucket.
func (f *fetcher) restart(key metadata.TopicPartition, x *following) {
	f.m.restarting <- struct{}{}
	err := f.bootstrap(f.m.ctx, x)
	<-f.m.restarting
	if errors.Is(err, errNotFollowing) || f.m.ctx.Err() != nil {
		return
	}
	next := &following{p: x.p, epoch: x.epoch, pause: x.pause}
	next.retryLater(time.Now()) // also without an error: what the leader refuses must not be asked for in a circle
	if err != nil {
		f.m.cfg.Logger.Warn("a replica could not be begun anew, will be tried again", "topic", x.p.topic, "partition", key.Partition, "leader", f.id.leader, "error", err)
	}
	if r := x.p.role.Load(); !r.leading && r.epoch == x.epoch && !x.p.removed.Load() {
		f.post(key, next)
	}
}

func (f *fetcher) bootstrap(ctx context.Context, x *following) error {
	b := f.m.image.Load().Brokers[f.id.leader]
	if b == nil {
		return fmt.Errorf("broker %d is not registered", f.id.leader)
	}
	conn, err := f.m.cfg.Dialer.Dial(ctx, b, fmt.Sprintf("broker-%d-bootstrap", f.m.cfg.Self))
	if err != nil {
		return err
	}
	defer conn.Close()
	return f.m.bootstrap(ctx, x, conn)
}
