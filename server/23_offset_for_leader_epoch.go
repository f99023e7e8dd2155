package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, handle: handleOffsetForLeaderEpoch})

func handleOffsetForLeaderEpoch(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.OffsetForLeaderEpochRequest)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	im := s.cfg.Image()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		topic := im.ByName[t.Topic]
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, -1, -1
			if topic == nil {
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else {
				var err error
				tp := metadata.TopicPartition{TopicID: topic.ID, Partition: p.Partition}
				rp.LeaderEpoch, rp.EndOffset, err = s.cfg.Fetcher.EpochEnd(tp, p.CurrentLeaderEpoch, p.LeaderEpoch)
				rp.ErrorCode = s.code(err)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return answer(resp)
}
