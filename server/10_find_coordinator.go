package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator"
	"varve/metadata"
)

var _ = register(api{key: kmsg.FindCoordinator, min: 0, max: 6, handle: handleFindCoordinator})

// Types of coordinator keys.
const (
	groupKey       = 0
	transactionKey = 1
	shareKey       = 2
)

func handleFindCoordinator(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.FindCoordinatorRequest)
	im := s.cfg.Image()
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if req.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, s.findCoordinator(im, req.CoordinatorType, key))
		}
		return answer(resp)
	}
	c := s.findCoordinator(im, req.CoordinatorType, req.CoordinatorKey)
	resp.NodeID, resp.Host, resp.Port, resp.ErrorCode, resp.ErrorMessage = c.NodeID, c.Host, c.Port, c.ErrorCode, c.ErrorMessage
	if c.ErrorCode == 0 {
		resp.ErrorMessage = new("NONE") // what Kafka says before batches of keys
	}
	return answer(resp)
}

// findCoordinator answers for one key from the image, without asking Postgres.
func (s *Server) findCoordinator(im *metadata.Image, keyType int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port, c.ErrorMessage = key, -1, -1, new("")
	b, err := coordinatorOf(im, keyType, key)
	if err != nil {
		c.ErrorCode = s.code(err)
		if keyType != shareKey {
			c.ErrorMessage = explain(err)
		}
		return c
	}
	c.NodeID, c.Host, c.Port = int32(b.ID), b.Host, b.Port
	return c
}

// coordinatorOf is the live broker that coordinates a key, else COORDINATOR_NOT_AVAILABLE. Transactional ids have no coordinator yet: they
// get the one code that every client reports at once instead of asking again, as InitProducerId gives.
func coordinatorOf(im *metadata.Image, keyType int8, key string) (*metadata.Broker, error) {
	switch keyType {
	case groupKey:
		shard := int(coordinator.ShardOf(key))
		if shard < len(im.GroupShards) {
			if owner := im.GroupShards[shard].Owner; im.Live(owner) {
				return im.Brokers[owner], nil
			}
		}
		return nil, kerr.CoordinatorNotAvailable
	case transactionKey:
		return nil, refuse(kerr.TransactionalIDAuthorizationFailed, "Transactions are not supported yet")
	case shareKey:
		return nil, kerr.InvalidRequest
	}
	return nil, refuse(kerr.InvalidRequest, "There is no coordinator of type %d", keyType)
}
