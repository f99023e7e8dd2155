package server

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

var _ = register(api{key: kmsg.DescribeConfigs, min: 1, max: 4, handle: handleDescribeConfigs})

// Resource types of configurations that kmsg has no names for, or that Varve has no settings of.
const groupConfigResource = kmsg.ConfigResourceType(32)

func handleDescribeConfigs(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for _, want := range req.Resources {
		rr := kmsg.NewDescribeConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = want.ResourceType, want.ResourceName
		configs, err := s.describeResource(want, req)
		rr.ErrorCode, rr.ErrorMessage = s.code(err), explain(err)
		if rr.ErrorMessage == nil {
			rr.ErrorMessage = new(string) // Kafka's is never null here
		}
		rr.Configs = configs
		resp.Resources = append(resp.Resources, rr)
	}
	return answer(resp)
}

func (s *Server) describeResource(want kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	im, b := s.cfg.Image(), s.cfg.Broker()
	switch want.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := CheckTopicName(want.ResourceName); err != nil {
			return nil, err
		}
		t := im.ByName[want.ResourceName]
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		return wireConfigs(topicConfigs(b, im, s.cfg.Self, t.Configs), want.ConfigNames, false, req), nil
	case kmsg.ConfigResourceTypeBroker:
		id, err := s.brokerResource(want.ResourceName)
		if err != nil {
			return nil, err
		}
		values := brokerConfigs(b, im, s.cfg.Self)
		if id == metadata.NoBroker {
			values = defaultConfigs(im)
		}
		return wireConfigs(values, want.ConfigNames, true, req), nil
	case kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, groupConfigResource:
		return nil, nil // nothing of these can be set
	}
	return nil, kerr.InvalidRequest
}

// defaultConfigs lists the dynamic settings for all brokers.
func defaultConfigs(im *metadata.Image) []configValue {
	set := im.BrokerConfigs[metadata.NoBroker]
	values := make([]configValue, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d, ok := config.BrokerDef(name)
		if !ok {
			continue // of a later version
		}
		values = append(values, configValue{def: d, value: set[name], shown: 1,
			synonyms: []synonym{{name, set[name], kmsg.ConfigSourceDynamicDefaultBrokerConfig}}})
	}
	return values
}
