package server

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.ListPartitionReassignments, min: 0, max: 0, handle: handleListPartitionReassignments})

// handleListPartitionReassignments lists the partitions whose replicas are being moved, of those asked for or, with null topics, of all.
// What does not exist or does not move is left out, as Kafka does.
func handleListPartitionReassignments(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ListPartitionReassignmentsRequest)
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	im := s.cfg.Image()
	add := func(name string, partitions []*metadata.Partition) {
		if len(partitions) == 0 {
			return
		}
		rt := kmsg.NewListPartitionReassignmentsResponseTopic()
		rt.Topic = name
		for _, p := range partitions {
			rp := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
			rp.Partition = p.TopicPartition.Partition
			rp.Replicas, rp.AddingReplicas, rp.RemovingReplicas = brokerIDs(p.Replicas), brokerIDs(p.Adding), brokerIDs(p.Removing)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if req.Topics == nil {
		for _, name := range slices.Sorted(maps.Keys(im.ByName)) {
			add(name, reassigning(im.ByName[name].Partitions))
		}
		return answer(resp)
	}
	for _, t := range req.Topics {
		if topic := im.ByName[t.Topic]; topic != nil {
			var asked []*metadata.Partition
			for _, p := range t.Partitions {
				if known := im.Partition(metadata.TopicPartition{TopicID: topic.ID, Partition: p}); known != nil {
					asked = append(asked, known)
				}
			}
			add(t.Topic, reassigning(asked))
		}
	}
	return answer(resp)
}

// reassigning returns those of the partitions whose replicas are being moved.
func reassigning(partitions []*metadata.Partition) []*metadata.Partition {
	var out []*metadata.Partition
	for _, p := range partitions {
		if p.Reassigning() {
			out = append(out, p)
		}
	}
	return out
}
