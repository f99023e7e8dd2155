package server

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, handle: handleDescribeTopicPartitions})

// maxDescribedPartitions bounds one answer (max.request.partition.size.limit).
const maxDescribedPartitions = 2000

func handleDescribeTopicPartitions(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeTopicPartitionsRequest)
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	im := s.cfg.Image()
	names := describedTopics(im, req)
	left := max(min(int(req.ResponsePartitionLimit), maxDescribedPartitions), 1)
	for _, name := range names {
		t := im.ByName[name]
		if t == nil {
			resp.Topics = append(resp.Topics, missingTopic(name))
			continue
		}
		from := 0
		if c := req.Cursor; c != nil && c.Topic == name {
			from = max(int(c.Partition), 0)
		}
		if left == 0 {
			resp.NextCursor = nextCursor(name, from)
			break
		}
		rt := describedTopic(im, t, from, left)
		left -= len(rt.Partitions)
		resp.Topics = append(resp.Topics, rt)
		if end := from + len(rt.Partitions); end < len(t.Partitions) {
			resp.NextCursor = nextCursor(name, end)
			break
		}
	}
	return answer(resp)
}

// describedTopics lists the topics asked for, all when none are named, by name, from the cursor on.
func describedTopics(im *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(req.Topics) == 0 {
		names = slices.Collect(maps.Keys(im.ByName))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		first, _ := slices.BinarySearch(names, req.Cursor.Topic)
		names = names[first:]
	}
	return names
}

func nextCursor(topic string, partition int) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, int32(partition)
	return &c
}

func missingTopic(name string) kmsg.DescribeTopicPartitionsResponseTopic {
	rt := kmsg.NewDescribeTopicPartitionsResponseTopic()
	rt.Topic, rt.AuthorizedOperations = &name, topicOperations
	rt.ErrorCode = kerr.UnknownTopicOrPartition.Code
	if CheckTopicName(name) != nil {
		rt.ErrorCode = kerr.InvalidTopicException.Code
	}
	return rt
}

// describedTopic describes at most limit partitions of t, from the given one on.
func describedTopic(im *metadata.Image, t *metadata.Topic, from, limit int) kmsg.DescribeTopicPartitionsResponseTopic {
	rt := kmsg.NewDescribeTopicPartitionsResponseTopic()
	rt.Topic, rt.TopicID, rt.AuthorizedOperations = &t.Name, t.ID, topicOperations
	for i := from; i < min(len(t.Partitions), from+limit); i++ {
		p := t.Partitions[i]
		rp := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		rp.Partition, rp.LeaderEpoch = int32(i), p.LeaderEpoch
		rp.LeaderID, rp.ErrorCode = leaderOf(im, p)
		rp.Replicas, rp.ISR, rp.OfflineReplicas = brokerIDs(p.Replicas), brokerIDs(p.ISR), offlineReplicas(im, p)
		rp.EligibleLeaderReplicas, rp.LastKnownELR = brokerIDs(p.ELR), brokerIDs(p.LastKnownELR)
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}
