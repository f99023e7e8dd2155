package server

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/fetch"
	"varve/metadata"
)

// handleFollowerFetch answers another broker that copies partitions led here. Followers fetch with sessions, from version 13 on.
func handleFollowerFetch(ctx context.Context, s *Server, r *request, im *metadata.Image) reply {
	req := r.Request.(*kmsg.FetchRequest)
	if req.Version < topicIDVersion || req.SessionEpoch == noSessionEpoch || s.cfg.Followers == nil {
		return s.refuseFollower(req, im)
	}
	x, err := s.beginFollowerFetch(ctx, req, r.clientID, im)
	if err != nil {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = s.code(err)
		return answer(resp)
	}
	if results := x.Ready(s.now()); len(results) > 0 || req.MaxWaitMillis <= 0 {
		return s.followerFetched(req, x, results, im)
	}
	return later(func(ctx context.Context) reply { return s.followerFetched(req, x, x.Wait(ctx), s.cfg.Image()) })
}

// refuseFollower answers a fetch that claims to be a follower's and is not made as Varve's brokers make theirs: the replica is none of this leader's.
func (s *Server) refuseFollower(req *kmsg.FetchRequest, im *metadata.Image) reply {
	x := &fetchOf{req: req, im: im, given: entriesOf(im, req)}
	results := make([]fetch.PartitionResult, len(x.given))
	for i := range results {
		results[i] = fetch.PartitionResult{Err: kerr.NotLeaderForPartition, HighWatermark: -1, LastStable: -1, LogStart: -1}
	}
	return s.fetched(x, results)
}

func (s *Server) beginFollowerFetch(ctx context.Context, req *kmsg.FetchRequest, client string, im *metadata.Image) (*fetch.FollowerFetch, error) {
	id, epoch := metadata.BrokerID(max(req.ReplicaID, req.ReplicaState.ID)), metadata.BrokerEpoch(req.ReplicaState.Epoch)
	if b := im.Brokers[id]; b != nil && epoch >= 0 && b.Epoch > epoch {
		return nil, fmt.Errorf("%w: broker %d has registered again since", kerr.StaleBrokerEpoch, id)
	}
	q := &fetch.FollowerRequest{Broker: id, Epoch: epoch, Client: client, SessionID: req.SessionID, SessionEpoch: req.SessionEpoch,
		MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond, MinBytes: int(req.MinBytes), MaxBytes: int(req.MaxBytes)}
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			q.Partitions = append(q.Partitions, fetch.PartitionRequest{TopicPartition: metadata.TopicPartition{TopicID: req.Topics[i].TopicID, Partition: p.Partition},
				CurrentLeaderEpoch: p.CurrentLeaderEpoch, Offset: p.FetchOffset, LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: int(p.PartitionMaxBytes)})
		}
	}
	for i := range req.ForgottenTopics {
		for _, p := range req.ForgottenTopics[i].Partitions {
			q.Forgotten = append(q.Forgotten, metadata.TopicPartition{TopicID: req.ForgottenTopics[i].TopicID, Partition: p})
		}
	}
	return s.cfg.Followers.Begin(ctx, q, s.now())
}

// followerFetched makes the answer, which owns the results from here on.
func (s *Server) followerFetched(req *kmsg.FetchRequest, x *fetch.FollowerFetch, results []fetch.FollowerResult, im *metadata.Image) reply {
	resp := kmsg.NewPtrFetchResponse()
	resp.SessionID = x.Session()
	owned := make([]fetch.PartitionResult, len(results))
	records := make([]*commitlog.Slice, len(results))
	for i := range results {
		key := results[i].TopicPartition
		owned[i] = results[i].PartitionResult
		records[i] = &owned[i].Records
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].TopicID != key.TopicID {
			t := kmsg.NewFetchResponseTopic()
			t.TopicID = key.TopicID
			resp.Topics = append(resp.Topics, t)
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition = key.Partition
		s.fillFetched(&p, &owned[i], req)
		if owned[i].Err != nil {
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = currentLeader(im, key)
		}
		t := &resp.Topics[len(resp.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return reply{writer: newFetchBody(resp, req.Version, records, owned)}
}
