package server

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.ListConfigResources, min: 0, max: 1, handle: handleListConfigResources})

// handleListConfigResources lists what has a configuration: topics and brokers. Version 0 asks for client metrics, of which there are none.
func handleListConfigResources(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	types := req.ResourceTypes
	if len(types) == 0 && req.Version >= 1 {
		types = []int8{int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker)}
	}
	im := s.cfg.Image()
	for _, t := range types {
		names, known := configResources(im, kmsg.ConfigResourceType(t))
		if !known {
			resp.ErrorCode, resp.ConfigResources = kerr.UnsupportedVersion.Code, nil
			return answer(resp)
		}
		for _, name := range names {
			c := kmsg.NewListConfigResourcesResponseConfigResource()
			c.Name, c.Type = name, t
			resp.ConfigResources = append(resp.ConfigResources, c)
		}
	}
	return answer(resp)
}

func configResources(im *metadata.Image, t kmsg.ConfigResourceType) (names []string, known bool) {
	switch t {
	case kmsg.ConfigResourceTypeTopic:
		return slices.Sorted(maps.Keys(im.ByName)), true
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for _, id := range slices.Sorted(maps.Keys(im.Brokers)) {
			names = append(names, strconv.Itoa(int(id)))
		}
		return names, true
	case kmsg.ConfigResourceTypeClientMetrics, groupConfigResource:
		return nil, true
	}
	return nil, false
}
