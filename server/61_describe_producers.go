package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/metadata"
)

var _ = register(api{key: kmsg.DescribeProducers, min: 0, max: 0, handle: handleDescribeProducers})

func handleDescribeProducers(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewPtrDescribeProducersResponse()
	im := s.cfg.Image()
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = p
			producers, err := s.producersOf(im.ByName[t.Topic], p)
			rp.ErrorCode, rp.ErrorMessage = s.code(err), explain(err)
			for _, info := range producers {
				active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				active.ProducerID, active.ProducerEpoch = info.ProducerID, int32(info.Epoch)
				active.LastSequence, active.LastTimestamp = info.LastSequence, info.LastTimestamp
				active.CoordinatorEpoch, active.CurrentTxnStartOffset = info.CoordinatorEpoch, info.TxnStartOffset
				rp.ActiveProducers = append(rp.ActiveProducers, active)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return answer(resp)
}

// producersOf lists the active producers of a partition that this broker leads.
func (s *Server) producersOf(t *metadata.Topic, partition int32) ([]commitlog.ProducerInfo, error) {
	if t == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	p, err := s.cfg.Partitions.Partition(metadata.TopicPartition{TopicID: t.ID, Partition: partition})
	if err != nil {
		return nil, err
	}
	if !p.Leading() {
		return nil, kerr.NotLeaderForPartition
	}
	return p.Log().Producers(), nil
}
