package server

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// newSessionEpoch and noSessionEpoch are the session epochs of full fetches (KIP-227).
	newSessionEpoch, noSessionEpoch = 0, -1
	// defaultFetchBytes is fetch.max.bytes when it is not set.
	defaultFetchBytes = 55 << 20
)

// handleFetch answers a full fetch. There are no fetch sessions: a client that asks for one gets session id 0, which KIP-227 defines as
// "none", and goes on sending full requests.
func handleFetch(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.FetchRequest)
	if req.Version >= 7 && req.SessionEpoch != newSessionEpoch && req.SessionEpoch != noSessionEpoch {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return answer(resp)
	}
	q := &fetch.Request{
		MaxWait:  time.Duration(req.MaxWaitMillis) * time.Millisecond,
		MaxBytes: s.fetchBytes(req.MaxBytes), ReadCommitted: req.IsolationLevel == 1,
	}
	q.MinBytes = min(int(req.MinBytes), q.MaxBytes)
	im := s.cfg.Image()
	for i := range req.Topics {
		t := &req.Topics[i]
		var id metadata.TopicID
		if topic := topicOf(im, t.Topic, t.TopicID, req.Version >= topicIDVersion); topic != nil {
			id = topic.ID
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			q.Partitions = append(q.Partitions, fetch.PartitionRequest{
				TopicPartition: metadata.TopicPartition{TopicID: id, Partition: p.Partition}, CurrentLeaderEpoch: p.CurrentLeaderEpoch,
				Offset: p.FetchOffset, LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: int(p.PartitionMaxBytes),
			})
		}
	}
	if replica := max(req.ReplicaID, req.ReplicaState.ID); replica >= 0 {
		return s.fetched(im, req, refuseFollower(len(q.Partitions)))
	}
	maxWait := q.MaxWait
	q.MaxWait = 0
	results := s.cfg.Fetcher.Fetch(ctx, q)
	if maxWait <= 0 || fetch.Enough(q, results) {
		return s.fetched(im, req, results)
	}
	fetch.Release(results)
	q.MaxWait = maxWait
	return later(func(ctx context.Context) reply { return s.fetched(im, req, s.cfg.Fetcher.Fetch(ctx, q)) })
}

// refuseFollower is the answer to a follower: replication is not built, so nobody is a follower of this broker.
func refuseFollower(partitions int) []fetch.PartitionResult {
	results := make([]fetch.PartitionResult, partitions)
	for i := range results {
		results[i] = fetch.PartitionResult{Err: kerr.NotLeaderForPartition, HighWatermark: -1, LastStable: -1, LogStart: -1}
	}
	return results
}

// fetchBytes bounds an answer by the request and by fetch.max.bytes.
func (s *Server) fetchBytes(asked int32) int {
	limit := int(s.cfg.Broker().FetchMaxBytes)
	if limit <= 0 {
		limit = defaultFetchBytes
	}
	return min(int(asked), limit)
}

// fetched makes the answer and releases the results.
func (s *Server) fetched(im *metadata.Image, req *kmsg.FetchRequest, results []fetch.PartitionResult) reply {
	defer fetch.Release(results)
	resp := kmsg.NewPtrFetchResponse()
	for i, n := 0, 0; i < len(req.Topics); i++ {
		t := &req.Topics[i]
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		topic.Partitions = make([]kmsg.FetchResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &topic.Partitions[j]
			p.Default()
			p.Partition = t.Partitions[j].Partition
			s.fillFetched(p, &results[n], req)
			if errors.Is(results[n].Err, kerr.NotLeaderForPartition) || errors.Is(results[n].Err, kerr.FencedLeaderEpoch) {
				if known := topicOf(im, t.Topic, t.TopicID, req.Version >= topicIDVersion); known != nil && req.Version >= 16 {
					p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = currentLeader(im, metadata.TopicPartition{TopicID: known.ID, Partition: p.Partition})
				}
			}
			n++
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return answer(resp)
}

func (s *Server) fillFetched(p *kmsg.FetchResponseTopicPartition, r *fetch.PartitionResult, req *kmsg.FetchRequest) {
	p.RecordBatches = []byte{}
	records, err := copySlice(&r.Records)
	if err == nil {
		err = r.Err
	}
	if err != nil {
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
	p.RecordBatches = records
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

// copySlice reads the bytes of a slice. A file that is shorter than it was is a storage error.
func copySlice(s *commitlog.Slice) ([]byte, error) {
	b := make([]byte, 0, s.Bytes)
	for _, piece := range s.Pieces {
		if piece.File == nil {
			b = append(b, piece.Mem...)
			continue
		}
		n := len(b)
		b = append(b, make([]byte, piece.Len)...)
		if got, err := piece.File.ReadAt(b[n:], piece.Pos); got < piece.Len {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("%w: reading %s at %d: %w", kerr.KafkaStorageError, piece.File.Name(), piece.Pos, err)
		}
	}
	return b, nil
}
