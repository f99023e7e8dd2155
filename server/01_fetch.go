package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/fetch"
	"varve/metadata"
)

var _ = register(api{key: kmsg.Fetch, min: 4, max: 18, alias: true, handle: handleFetch})

const (
	// topicIDVersion is the first version of Fetch that names topics by id (KIP-516).
	topicIDVersion = 13
	// rackVersion is the first version of Fetch that tells the consumer's rack (KIP-392).
	rackVersion = 11
	// newSessionEpoch and noSessionEpoch are the session epochs of full fetches (KIP-227).
	newSessionEpoch, noSessionEpoch = 0, -1
	// defaultFetchBytes is fetch.max.bytes when it is not set.
	defaultFetchBytes = 55 << 20
)

// A fetchOf is one fetch on its way: what is asked, in the order of the answer.
type fetchOf struct {
	req         *kmsg.FetchRequest
	im          *metadata.Image
	given       []fetch.SessionEntry
	session     *fetch.Session // nil: none
	incremental bool
}

// handleFetch answers at once if there is something to tell, and otherwise waits behind the connection.
func handleFetch(ctx context.Context, s *Server, r *request) reply {
	x := &fetchOf{req: r.Request.(*kmsg.FetchRequest), im: s.cfg.Image()}
	if max(x.req.ReplicaID, x.req.ReplicaState.ID) >= 0 {
		return handleFollowerFetch(ctx, s, r, x.im)
	}
	if err := s.openSession(x); err != nil {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = s.code(err)
		return answer(resp)
	}
	req := x.req
	q := &fetch.Request{MaxBytes: s.fetchBytes(req.MaxBytes), ReadCommitted: req.IsolationLevel == 1, FromFollower: req.Version >= rackVersion}
	if s.cfg.Broker().RackAwareReads {
		q.Rack = req.Rack
	}
	q.MinBytes = min(int(req.MinBytes), q.MaxBytes)
	for i := range x.given {
		q.Partitions = append(q.Partitions, x.given[i].Request)
	}
	results := s.cfg.Fetcher.Fetch(ctx, q)
	if req.MaxWaitMillis <= 0 || fetch.Enough(q, results) {
		return s.fetched(x, results)
	}
	fetch.Release(results)
	q.MaxWait = time.Duration(req.MaxWaitMillis) * time.Millisecond
	return later(func(ctx context.Context) reply { return s.fetched(x, s.cfg.Fetcher.Fetch(ctx, q)) })
}

// openSession finds out what is asked: the request itself, or with a session what it remembers with the request's changes (KIP-227).
func (s *Server) openSession(x *fetchOf) (err error) {
	req, sessions := x.req, &s.cfg.Fetcher.Sessions
	byID := req.Version >= topicIDVersion
	asked := entriesOf(x.im, req)
	switch {
	case req.Version < 7:
		x.given = asked
	case req.SessionEpoch == newSessionEpoch || req.SessionEpoch == noSessionEpoch:
		if req.SessionID != 0 {
			sessions.Close(req.SessionID)
		}
		x.given = asked
		if req.SessionEpoch == newSessionEpoch {
			slots := int(s.cfg.Broker().FetchSessionSlots)
			x.session = sessions.Open(append([]fetch.SessionEntry(nil), asked...), byID, slots, s.now())
		}
	default:
		x.incremental = true
		x.session, x.given, err = sessions.Next(req.SessionID, req.SessionEpoch, byID, asked, forgottenOf(req), s.now())
		for i := range x.given { // a topic may have been made, or made again, since it was asked for
			e := &x.given[i]
			e.Request.TopicPartition.TopicID = metadata.TopicID{}
			if topic := topicOf(x.im, e.Topic, e.AskedID, byID); topic != nil {
				e.Request.TopicPartition.TopicID = topic.ID
			}
		}
	}
	return err
}

// entriesOf resolves the partitions of a request. Names are copied: those of the request end with its frame.
func entriesOf(im *metadata.Image, req *kmsg.FetchRequest) (entries []fetch.SessionEntry) {
	for i := range req.Topics {
		t := &req.Topics[i]
		var id metadata.TopicID
		if topic := topicOf(im, t.Topic, t.TopicID, req.Version >= topicIDVersion); topic != nil {
			id = topic.ID
		}
		name := strings.Clone(t.Topic)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			entries = append(entries, fetch.NewEntry(name, t.TopicID, fetch.PartitionRequest{
				TopicPartition: metadata.TopicPartition{TopicID: id, Partition: p.Partition}, CurrentLeaderEpoch: p.CurrentLeaderEpoch,
				Offset: p.FetchOffset, LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: int(p.PartitionMaxBytes),
			}))
		}
	}
	return entries
}

func forgottenOf(req *kmsg.FetchRequest) (entries []fetch.SessionEntry) {
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			entries = append(entries, fetch.NewEntry(t.Topic, t.TopicID, fetch.PartitionRequest{TopicPartition: metadata.TopicPartition{Partition: p}}))
		}
	}
	return entries
}

// fetchBytes bounds an answer by the request and by fetch.max.bytes.
func (s *Server) fetchBytes(asked int32) int {
	limit := int(s.cfg.Broker().FetchMaxBytes)
	if limit <= 0 {
		limit = defaultFetchBytes
	}
	return min(int(asked), limit)
}

// fetched makes the answer, which owns the results from here on.
func (s *Server) fetched(x *fetchOf, results []fetch.PartitionResult) reply {
	resp := kmsg.NewPtrFetchResponse()
	var named []bool
	if x.session != nil {
		resp.SessionID = x.session.ID
		named = x.session.Tell(x.given, results)
	}
	records := make([]*commitlog.Slice, 0, len(x.given))
	for i := range x.given {
		if x.incremental && named != nil && !named[i] {
			continue
		}
		e := &x.given[i]
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != e.Topic || resp.Topics[n-1].TopicID != e.AskedID {
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic, topic.TopicID = e.Topic, e.AskedID
			resp.Topics = append(resp.Topics, topic)
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition = e.Request.TopicPartition.Partition
		s.fillFetched(&p, &results[i], x.req)
		if err := results[i].Err; x.req.Version >= 16 && (errors.Is(err, kerr.NotLeaderForPartition) || errors.Is(err, kerr.FencedLeaderEpoch)) {
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = currentLeader(x.im, e.Request.TopicPartition)
		}
		topic := &resp.Topics[len(resp.Topics)-1]
		topic.Partitions = append(topic.Partitions, p)
		records = append(records, &results[i].Records)
	}
	return reply{writer: newFetchBody(resp, x.req.Version, records, results)}
}

func (s *Server) fillFetched(p *kmsg.FetchResponseTopicPartition, r *fetch.PartitionResult, req *kmsg.FetchRequest) {
	if err := r.Err; err != nil {
		p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = s.code(err), -1, -1, -1
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			if req.Version >= topicIDVersion {
				p.ErrorCode = kerr.UnknownTopicID.Code
			}
		}
		return
	}
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = r.HighWatermark, r.LastStable, r.LogStart
	if r.Near != nil {
		p.PreferredReadReplica = int32(*r.Near)
	}
	if r.Diverging != nil {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = r.Diverging.Epoch, r.Diverging.StartOffset
	}
	if req.IsolationLevel == 1 {
		p.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, len(r.Aborted))
		for i, a := range r.Aborted {
			p.AbortedTransactions[i].ProducerID, p.AbortedTransactions[i].FirstOffset = a.ProducerID, a.FirstOffset
		}
	}
}
