package server

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.DeleteRecords, min: 0, max: 2, handle: handleDeleteRecords})

// LogStartStore raises log starts in the metadata. Implemented by metadata/postgres; the server's Store is asked whether it does.
type LogStartStore interface {
	// RaiseLogStart persists a higher log start offset and returns the one in force, which never falls.
	RaiseLogStart(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, offset int64) (int64, error)
}

func handleDeleteRecords(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DeleteRecordsRequest)
	return later(func(ctx context.Context) reply {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(max(req.TimeoutMillis, 1))*time.Millisecond)
		defer cancel()
		resp := kmsg.NewPtrDeleteRecordsResponse()
		im := s.cfg.Image()
		for _, t := range req.Topics {
			rt := kmsg.NewDeleteRecordsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewDeleteRecordsResponseTopicPartition()
				low, err := s.deleteRecords(ctx, im.ByName[t.Topic], p.Partition, p.Offset)
				rp.Partition, rp.LowWatermark, rp.ErrorCode = p.Partition, low, s.code(err)
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return answer(resp)
	})
}

// deleteRecords raises the log start of one partition, in Postgres first; offset -1 stands for the high watermark. It returns the low watermark.
func (s *Server) deleteRecords(ctx context.Context, t *metadata.Topic, partition int32, offset int64) (int64, error) {
	if t == nil {
		return -1, kerr.UnknownTopicOrPartition
	}
	p, err := s.cfg.Partitions.Partition(metadata.TopicPartition{TopicID: t.ID, Partition: partition})
	if err != nil {
		return -1, err
	}
	if err := p.CheckLeader(-1); err != nil {
		return -1, err
	}
	if c := p.Config(); c.CleanupCompact && !c.CleanupDelete {
		return -1, kerr.PolicyViolation
	}
	o := p.Offsets()
	if offset == -1 {
		offset = o.HighWatermark
	}
	if offset < 0 || offset > o.HighWatermark {
		return -1, kerr.OffsetOutOfRange
	}
	store, ok := s.cfg.Store.(LogStartStore)
	if !ok {
		return -1, fmt.Errorf("%w: the metadata store cannot raise log starts", kerr.PolicyViolation)
	}
	start, err := store.RaiseLogStart(ctx, p.Key(), s.cfg.Self, p.LeaderEpoch(), offset)
	if err != nil {
		return -1, err
	}
	return start, p.SetLogStart(start)
}
