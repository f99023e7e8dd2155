package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.AlterPartitionAssignments, min: 0, max: 1, handle: handleAlterPartitionReassignments})

// ReassignmentStore changes which brokers have the replicas of partitions; index i of the result belongs to change i.
type ReassignmentStore interface {
	AlterReassignments(ctx context.Context, changes []metadata.ReassignmentChange, allowFactorChange bool) ([]error, error)
}

func handleAlterPartitionReassignments(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange // true before v1, which brought the choice
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	im := s.cfg.Image()
	var changes []metadata.ReassignmentChange
	var outcomes []*kmsg.AlterPartitionAssignmentsResponseTopicPartition // of changes
	for _, t := range req.Topics {
		rt := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		rt.Topic, rt.Partitions = t.Topic, make([]kmsg.AlterPartitionAssignmentsResponseTopicPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			at := &rt.Partitions[i]
			at.Default()
			at.Partition = p.Partition
			tp, err := findPartition(im, t.Topic, p.Partition)
			if err != nil {
				at.ErrorCode, at.ErrorMessage = s.code(err), explain(err)
				continue
			}
			changes = append(changes, metadata.ReassignmentChange{TopicPartition: tp, Target: replicaIDs(p.Replicas)})
			outcomes = append(outcomes, at)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(changes) == 0 {
		return answer(resp)
	}
	errs, err := s.cfg.Store.AlterReassignments(ctx, changes, req.AllowReplicationFactorChange)
	if err != nil {
		resp.Topics, resp.ErrorCode, resp.ErrorMessage = nil, s.code(err), explain(err)
		return answer(resp)
	}
	for i, err := range errs {
		outcomes[i].ErrorCode, outcomes[i].ErrorMessage = s.code(err), explain(err)
	}
	s.refresh(ctx)
	return answer(resp)
}

// findPartition resolves a partition by its topic's name.
func findPartition(im *metadata.Image, topic string, partition int32) (tp metadata.TopicPartition, err error) {
	t := im.ByName[topic]
	if t == nil {
		return tp, refuse(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	tp = metadata.TopicPartition{TopicID: t.ID, Partition: partition}
	if im.Partition(tp) == nil {
		return tp, refuse(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, partition)
	}
	return tp, nil
}

// replicaIDs converts a list of replicas; null stays null.
func replicaIDs(ids []int32) []metadata.BrokerID {
	if ids == nil {
		return nil
	}
	out := make([]metadata.BrokerID, len(ids))
	for i, id := range ids {
		out[i] = metadata.BrokerID(id)
	}
	return out
}
