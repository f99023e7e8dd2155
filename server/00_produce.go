package server

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/ingest"
	"varve/metadata"
)

// Versions below 3 are advertised, as Kafka does, because librdkafka wants to see them; nobody sends them.
var _ = register(api{key: kmsg.Produce, min: 0, max: 13, served: 3, alias: true, handle: handleProduce})

// handleProduce appends at once, so that the requests of a connection are appended in order, and waits for acknowledgements later.
func handleProduce(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ProduceRequest)
	im := s.cfg.Image()
	var parts []ingest.PartitionRequest
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := topicOf(im, t.Topic, t.TopicID, req.Version >= 13)
		for j := range t.Partitions {
			part := ingest.PartitionRequest{Records: t.Partitions[j].Records}
			if topic != nil {
				part.TopicPartition = metadata.TopicPartition{TopicID: topic.ID, Partition: t.Partitions[j].Partition}
			}
			part.Unknown = im.Partition(part.TopicPartition) == nil
			parts = append(parts, part)
		}
	}
	// No transaction coordinator yet: a transactional batch would open a transaction that nobody ends and hold the last stable offset for ever.
	const transactional = false
	pending := s.cfg.Producer.Append(req.Acks, req.Version, transactional, parts, s.now())
	if pending.Done() {
		return s.produced(req, pending.Wait(context.Background(), 0))
	}
	return later(func(ctx context.Context) reply {
		return s.produced(req, pending.Wait(ctx, time.Duration(req.TimeoutMillis)*time.Millisecond))
	})
}

// topicOf resolves a topic by id or by name; nil: there is none.
func topicOf(im *metadata.Image, name string, id metadata.TopicID, byID bool) *metadata.Topic {
	if byID {
		return im.Topics[id]
	}
	return im.ByName[name]
}

// produced makes the answer of the results, which are in the order of the request. With acks 0 there is none, and an error ends
// the connection: it is the only way to tell the client.
func (s *Server) produced(req *kmsg.ProduceRequest, results []ingest.PartitionResult) reply {
	if req.Acks == 0 {
		failed := false
		for i := range results {
			failed = failed || results[i].Err != nil
		}
		return reply{none: true, close: failed}
	}
	resp := kmsg.NewPtrProduceResponse()
	im := s.cfg.Image()
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		topic.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &topic.Partitions[j]
			p.Default()
			p.Partition = t.Partitions[j].Partition
			s.fillProduced(p, &results[0], req.Version >= 13)
			if errors.Is(results[0].Err, kerr.NotLeaderForPartition) {
				if known := topicOf(im, t.Topic, t.TopicID, req.Version >= 13); known != nil {
					p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = currentLeader(im, metadata.TopicPartition{TopicID: known.ID, Partition: p.Partition})
				}
			}
			results = results[1:]
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return answer(resp)
}

func (s *Server) fillProduced(p *kmsg.ProduceResponseTopicPartition, r *ingest.PartitionResult, byID bool) {
	p.BaseOffset, p.LogAppendTime, p.LogStartOffset = r.BaseOffset, r.LogAppendTime, r.LogStart
	p.ErrorCode = s.code(r.Err)
	if byID && p.ErrorCode == kerr.UnknownTopicOrPartition.Code {
		p.ErrorCode = kerr.UnknownTopicID.Code
	}
	for _, e := range r.RecordErrors {
		record := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		record.RelativeOffset, record.ErrorMessage = e.Index, &e.Message
		p.ErrorRecords = append(p.ErrorRecords, record)
	}
	if r.ErrorMessage != "" {
		p.ErrorMessage = &r.ErrorMessage
	}
}

// currentLeader tells a client where to go.
func currentLeader(im *metadata.Image, tp metadata.TopicPartition) (leader, epoch int32) {
	if p := im.Partition(tp); p != nil {
		return int32(p.Leader), p.LeaderEpoch
	}
	return -1, -1
}
