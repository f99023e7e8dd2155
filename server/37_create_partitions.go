package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.CreatePartitions, min: 0, max: 3, handle: handleCreatePartitions})

func handleCreatePartitions(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.CreatePartitionsRequest)
	resp := kmsg.NewPtrCreatePartitionsResponse()
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	count := make(map[string]int, len(req.Topics))
	for _, t := range req.Topics {
		count[t.Topic]++
	}
	changed := false
	for _, t := range req.Topics {
		n := count[t.Topic]
		if count[t.Topic] = 0; n == 0 {
			continue // a duplicate that has been reported
		}
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic = t.Topic
		err := refuse(kerr.InvalidRequest, "Duplicate topic name.")
		if n == 1 {
			err = s.addPartitions(ctx, t, req.ValidateOnly)
			changed = changed || err == nil
		}
		rt.ErrorCode, rt.ErrorMessage = s.code(err), explain(err)
		resp.Topics = append(resp.Topics, rt)
	}
	if changed && !req.ValidateOnly {
		s.refresh(ctx)
	}
	return answer(resp)
}

// addPartitions raises the partition count of one topic.
func (s *Server) addPartitions(ctx context.Context, t kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	im := s.cfg.Image()
	topic := im.ByName[t.Topic]
	if topic == nil {
		return kerr.UnknownTopicOrPartition
	}
	now := len(topic.Partitions)
	added := int(t.Count) - now
	switch {
	case added == 0:
		return refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", now)
	case added < 0:
		return refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, now, t.Count)
	case added > maxTopicPartitions:
		return errExcessive
	}
	factor := topic.Partitions[0].ReplicationFactor()
	assignment, err := placeNewPartitions(im, t, added, factor, now)
	if err != nil {
		return err
	}
	return s.cfg.Store.AddPartitions(ctx, t.Topic, assignment, now, validateOnly)
}

// placeNewPartitions takes the client's assignment, or places the partitions by the ordinary rule.
func placeNewPartitions(im *metadata.Image, t kmsg.CreatePartitionsRequestTopic, added, factor, from int) ([][]metadata.BrokerID, error) {
	manual := t.Assignment
	if manual == nil {
		return placeReplicas(im, t.Topic, from, added, factor)
	}
	if len(manual) != added {
		return nil, refuse(kerr.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", added, len(manual))
	}
	assignment := make([][]metadata.BrokerID, 0, added)
	for i, a := range manual {
		replicas, err := checkReplicas(im, from+i, a.Replicas)
		if err != nil {
			return nil, err
		}
		assignment = append(assignment, replicas)
	}
	return assignment, sameFactor(assignment, factor)
}
