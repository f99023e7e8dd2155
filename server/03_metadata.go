package server

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.Metadata, min: 0, max: 13, handle: handleMetadata})

func handleMetadata(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.MetadataRequest)
	im := s.cfg.Image()
	resp := kmsg.NewPtrMetadataResponse()
	for _, b := range liveBrokers(im) {
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Host, mb.Port, mb.Rack = int32(b.ID), b.Host, b.Port, optional(b.Rack)
		resp.Brokers = append(resp.Brokers, mb)
	}
	cluster := clusterID(im.ClusterID)
	resp.ClusterID = &cluster
	resp.ControllerID = int32(controller(im))
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	var missing []string
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(im.ByName))
		for _, name := range slices.Sorted(maps.Keys(im.ByName)) {
			resp.Topics = append(resp.Topics, describeTopic(im, im.ByName[name], req))
		}
	} else {
		resp.Topics, missing = metadataTopics(im, req)
	}
	if len(missing) > 0 && s.cfg.Broker().AutoCreateTopics && (req.AllowAutoTopicCreation || req.Version < 4) {
		s.autoCreate(ctx, im, missing)
	}
	return answer(resp)
}

// metadataTopics describes the topics that were asked for, each once. missing are those that may be created: Kafka answers
// UNKNOWN_TOPIC_OR_PARTITION for them all the same, and the client asks again.
func metadataTopics(im *metadata.Image, req *kmsg.MetadataRequest) (topics []kmsg.MetadataResponseTopic, missing []string) {
	type ref struct {
		name string
		id   uuid.UUID
	}
	seen := make(map[ref]bool, len(req.Topics))
	topics = make([]kmsg.MetadataResponseTopic, 0, len(req.Topics))
	for _, want := range req.Topics {
		k := ref{id: want.TopicID}
		if want.Topic != nil {
			k = ref{name: *want.Topic}
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		var t *metadata.Topic
		if want.Topic != nil {
			t = im.ByName[k.name]
		} else {
			t = im.Topics[k.id]
		}
		if t != nil {
			topics = append(topics, describeTopic(im, t, req))
			continue
		}
		mt := kmsg.NewMetadataResponseTopic()
		mt.Topic, mt.TopicID = want.Topic, want.TopicID
		switch {
		case want.Topic == nil:
			mt.ErrorCode = kerr.UnknownTopicID.Code
		case CheckTopicName(k.name) != nil:
			mt.ErrorCode, mt.TopicID = kerr.InvalidTopicException.Code, uuid.Nil
		default:
			mt.ErrorCode, mt.TopicID = kerr.UnknownTopicOrPartition.Code, uuid.Nil
			missing = append(missing, k.name)
		}
		topics = append(topics, mt)
	}
	return topics, missing
}

func describeTopic(im *metadata.Image, t *metadata.Topic, req *kmsg.MetadataRequest) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID = &t.Name, t.ID
	if req.IncludeTopicAuthorizedOperations {
		mt.AuthorizedOperations = topicOperations
	}
	mt.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.LeaderEpoch = int32(i), p.LeaderEpoch
		mp.Leader, mp.ErrorCode = leaderOf(im, p)
		mp.Replicas, mp.ISR = brokerIDs(p.Replicas), brokerIDs(p.ISR)
		mp.OfflineReplicas = offlineReplicas(im, p)
		if req.Version == 0 {
			var replicas, isr bool
			mp.Replicas, replicas = shownBrokers(im, mp.Replicas)
			mp.ISR, isr = shownBrokers(im, mp.ISR)
			if mp.ErrorCode == 0 && !(replicas && isr) {
				mp.ErrorCode = kerr.ReplicaNotAvailable.Code
			}
		}
		mt.Partitions[i] = mp
	}
	return mt
}

// leaderOf is the leader that clients may go to: -1 and LEADER_NOT_AVAILABLE when there is none or it is fenced.
func leaderOf(im *metadata.Image, p *metadata.Partition) (int32, int16) {
	if b := im.Brokers[p.Leader]; b == nil || b.Fenced {
		return int32(metadata.NoBroker), kerr.LeaderNotAvailable.Code
	}
	return int32(p.Leader), 0
}

// offlineReplicas are the replicas whose broker is gone or fenced, or lost the directory that held them.
func offlineReplicas(im *metadata.Image, p *metadata.Partition) []int32 {
	offline := []int32{}
	for i, r := range p.Replicas {
		if im.ReplicaOffline(p, i) {
			offline = append(offline, int32(r))
		}
	}
	return offline
}

// shownBrokers returns those of ids that clients of Metadata v0 may see, and reports whether that is all: the others are not in its list of
// brokers, and v0 has no list of replicas that are offline.
func shownBrokers(im *metadata.Image, ids []int32) (shown []int32, all bool) {
	shown = slices.DeleteFunc(slices.Clone(ids), func(id int32) bool {
		b := im.Brokers[metadata.BrokerID(id)]
		return b == nil || b.Fenced
	})
	return shown, len(shown) == len(ids)
}

// liveBrokers lists the unfenced brokers by id.
func liveBrokers(im *metadata.Image) []*metadata.Broker {
	live := make([]*metadata.Broker, 0, len(im.Brokers))
	for _, id := range slices.Sorted(maps.Keys(im.Brokers)) {
		if b := im.Brokers[id]; !b.Fenced {
			live = append(live, b)
		}
	}
	return live
}

// controller names the broker that clients send admin requests to. Any broker executes them, so while no lease is held the first live one will do.
func controller(im *metadata.Image) metadata.BrokerID {
	if im.Live(im.Controller) {
		return im.Controller
	}
	if live := liveBrokers(im); len(live) > 0 {
		return live[0].ID
	}
	return metadata.NoBroker
}

// clusterID writes the id of the cluster as Kafka writes its own: base64 for URLs, 22 characters.
func clusterID(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func brokerIDs(ids []metadata.BrokerID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}

// optional is a nullable string: null when empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
