package server

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/fetch"
	"varve/metadata"
)

var _ = register(api{key: kmsg.ListOffsets, min: 1, max: 11, handle: handleListOffsets})

// listTimeout bounds look-ups in the bucket when the request gives no time.
const listTimeout = 30 * time.Second

// handleListOffsets may read from the bucket, so it never holds back the connection's next request.
func handleListOffsets(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ListOffsetsRequest)
	return later(func(ctx context.Context) reply {
		timeout := listTimeout
		if req.Version >= 10 && req.TimeoutMillis > 0 {
			timeout = time.Duration(req.TimeoutMillis) * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return answer(s.listOffsets(ctx, req))
	})
}

func (s *Server) listOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewPtrListOffsetsResponse()
	im := s.cfg.Image()
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		asked := map[int32]int{}
		for _, p := range t.Partitions {
			asked[p.Partition]++
		}
		for _, p := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = p.Partition
			if asked[p.Partition] < 0 {
				continue // a duplicate, answered already
			}
			if asked[p.Partition] > 1 {
				rp.ErrorCode = kerr.InvalidRequest.Code
				asked[p.Partition] = -1
			} else {
				s.listOffset(ctx, im, &rp, &p, t.Topic, req)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// listOffset answers for one partition.
func (s *Server) listOffset(ctx context.Context, im *metadata.Image, rp *kmsg.ListOffsetsResponseTopicPartition, p *kmsg.ListOffsetsRequestTopicPartition, topic string, req *kmsg.ListOffsetsRequest) {
	t := im.ByName[topic]
	if t == nil {
		rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return
	}
	if p.Timestamp < 0 && req.Version < sinceVersion(p.Timestamp) {
		rp.ErrorCode = kerr.UnsupportedVersion.Code
		return
	}
	epoch := p.CurrentLeaderEpoch
	if req.Version < 4 {
		epoch = -1
	}
	found, err := s.cfg.Fetcher.ListOffset(ctx, metadata.TopicPartition{TopicID: t.ID, Partition: p.Partition}, epoch, p.Timestamp, isolation(req))
	if errors.Is(err, kerr.OffsetNotAvailable) && req.Version < 5 {
		err = kerr.LeaderNotAvailable
	}
	if err != nil {
		rp.ErrorCode = s.code(err)
		return
	}
	rp.Timestamp, rp.Offset, rp.LeaderEpoch = found.Timestamp, found.Offset, found.LeaderEpoch
}

func isolation(req *kmsg.ListOffsetsRequest) fetch.Isolation {
	switch {
	case req.ReplicaID >= 0:
		return fetch.LogEnd
	case req.IsolationLevel == 1:
		return fetch.ReadCommitted
	}
	return fetch.ReadUncommitted
}

// sinceVersion is the first version of ListOffsets that knows a special timestamp; those that none knows are beyond all.
func sinceVersion(timestamp int64) int16 {
	switch timestamp {
	case fetch.Latest, fetch.Earliest:
		return 1
	case fetch.MaxTimestamp:
		return 7
	case fetch.EarliestLocal:
		return 8
	case fetch.LatestTiered:
		return 9
	case fetch.EarliestPendingUpload:
		return 11
	}
	return 1 << 14
}
