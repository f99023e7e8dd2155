package server

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.DescribeCluster, min: 0, max: 2, handle: handleDescribeCluster})

// Endpoint types of DescribeCluster (KIP-919). Varve has no separate controllers.
const brokerEndpoints = 1

func handleDescribeCluster(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType, resp.ControllerID = brokerEndpoints, -1
	if req.Version >= 1 && req.EndpointType != brokerEndpoints {
		err := refuse(kerr.MismatchedEndpointType,
			"The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type %s", endpointName(req.EndpointType))
		resp.ErrorCode, resp.ErrorMessage = s.code(err), explain(err)
		return answer(resp)
	}
	im := s.cfg.Image()
	resp.ClusterID, resp.ControllerID = clusterID(im.ClusterID), int32(controller(im))
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	for _, id := range slices.Sorted(maps.Keys(im.Brokers)) {
		b := im.Brokers[id]
		if b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		rb := kmsg.NewDescribeClusterResponseBroker()
		rb.NodeID, rb.Host, rb.Port, rb.Rack, rb.IsFenced = int32(id), b.Host, b.Port, optional(b.Rack), b.Fenced
		resp.Brokers = append(resp.Brokers, rb)
	}
	return answer(resp)
}

func endpointName(t int8) string {
	if t == 2 {
		return "CONTROLLER"
	}
	return "UNKNOWN"
}
