package server

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// TestMetadataOfAnUnwellCluster: fenced brokers are not shown, what they led has no leader, and their replicas are offline.
func TestMetadataOfAnUnwellCluster(t *testing.T) {
	im := imageOf()
	im.Brokers[2] = &metadata.Broker{ID: 2, Host: "two.test", Port: 9092, Fenced: true}
	im.Controller = 2
	lost := addTopic(im, "lost", 3, 1)
	lost.Partitions[0].Leader = 2
	lost.Partitions[1].Leader = metadata.NoBroker
	for _, p := range lost.Partitions {
		p.Replicas, p.Dirs = []metadata.BrokerID{1, 2}, make([]metadata.DirID, 2)
	}
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }})
	p := dial(t, addr)
	resp := ask[*kmsg.MetadataResponse](p, metadataOf("lost"), 12)
	if len(resp.Brokers) != 1 || resp.Brokers[0].Host != "broker.test" || resp.ControllerID != 1 {
		t.Errorf("brokers %+v, controller %d", resp.Brokers, resp.ControllerID)
	}
	for i, want := range []error{kerr.LeaderNotAvailable, kerr.LeaderNotAvailable, nil} {
		got := resp.Topics[0].Partitions[i]
		checkCode(t, fmt.Sprint("partition ", i), got.ErrorCode, want, nil)
		if (got.Leader == -1) != (want != nil) || !slices.Equal(got.OfflineReplicas, []int32{2}) || got.LeaderEpoch != 3 {
			t.Errorf("partition %d: %+v", i, got)
		}
	}
	cluster := kmsg.NewPtrDescribeClusterRequest()
	if got := ask[*kmsg.DescribeClusterResponse](p, cluster, 2); len(got.Brokers) != 1 || got.ControllerID != 1 {
		t.Errorf("DescribeCluster: %+v", got)
	}
	cluster.IncludeFencedBrokers = true
	if got := ask[*kmsg.DescribeClusterResponse](p, cluster, 2); len(got.Brokers) != 2 || !got.Brokers[1].IsFenced {
		t.Errorf("DescribeCluster with fenced brokers: %+v", got)
	}
	cluster.EndpointType = 2
	checkCode(t, "controllers", ask[*kmsg.DescribeClusterResponse](p, cluster, 2).ErrorCode, kerr.MismatchedEndpointType, nil)
}

// TestMetadataTopics: which topics a request means: all, none, by name, by id, each once.
func TestMetadataTopics(t *testing.T) {
	im := imageOf()
	id := im.ByName["wire"].ID
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }})
	p := dial(t, addr)
	count := func(req *kmsg.MetadataRequest, version int16) int {
		return len(ask[*kmsg.MetadataResponse](p, req, version).Topics)
	}
	if n := count(kmsg.NewPtrMetadataRequest(), 12); n != 1 {
		t.Errorf("null topics: %d, want all", n)
	}
	if n := count(metadataOf(), 0); n != 1 {
		t.Errorf("no topics in v0: %d, want all", n)
	}
	if n := count(metadataOf(), 1); n != 0 {
		t.Errorf("no topics in v1: %d, want none", n)
	}
	if n := count(metadataOf("wire", "wire", "other"), 12); n != 2 {
		t.Errorf("one topic twice: %d answers", n)
	}
	byID := kmsg.NewPtrMetadataRequest()
	for _, want := range []metadata.TopicID{id, {15: 1}} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.TopicID = want
		byID.Topics = append(byID.Topics, rt)
	}
	got := ask[*kmsg.MetadataResponse](p, byID, 12).Topics
	if len(got) != 2 || *got[0].Topic != "wire" || got[1].Topic != nil || got[1].ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("by id: %+v", got)
	}
}

// TestDescribeTopicPartitionsPages: with every limit, following the cursor shows every partition once, in order.
func TestDescribeTopicPartitionsPages(t *testing.T) {
	im := imageOf()
	addTopic(im, "a", 5, 1)
	addTopic(im, "b", 1, 1)
	addTopic(im, "c", 3, 1)
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }})
	p := dial(t, addr)
	want := []string{"a0", "a1", "a2", "a3", "a4", "b0", "c0", "c1", "c2", "wire0", "wire1"}
	for limit := int32(1); limit <= 12; limit++ {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		var got []string
		for {
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](p, req, 0)
			for _, topic := range resp.Topics {
				for _, part := range topic.Partitions {
					got = append(got, fmt.Sprint(*topic.Topic, part.Partition))
				}
			}
			if resp.NextCursor == nil || len(got) > len(want) {
				break
			}
			cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
			cursor.Topic, cursor.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
			req.Cursor = &cursor
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

// TestEveryVersionAnswers: each version that is advertised decodes an empty request and answers something that decodes.
func TestEveryVersionAnswers(t *testing.T) {
	c := startCluster(t, nil)
	p := dial(t, c.addr)
	for _, key := range []kmsg.Key{kmsg.Metadata, kmsg.SASLHandshake, kmsg.ApiVersions, kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.InitProducerID,
		kmsg.DescribeACLs, kmsg.CreateACLs, kmsg.DeleteACLs, kmsg.DescribeConfigs, kmsg.AlterConfigs, kmsg.AlterReplicaLogDirs, kmsg.DescribeLogDirs, kmsg.SASLAuthenticate,
		kmsg.CreatePartitions, kmsg.ElectLeaders, kmsg.IncrementalAlterConfigs, kmsg.AlterPartitionAssignments, kmsg.ListPartitionReassignments,
		kmsg.UpdateFeatures, kmsg.DescribeCluster,
		kmsg.DescribeProducers, kmsg.ListConfigResources, kmsg.DescribeTopicPartitions} {
		a := registry[int16(key)]
		for v := a.served; v <= a.max; v++ {
			req := key.Request()
			req.SetVersion(v)
			p.receive(req, p.send(req))
		}
	}
}
