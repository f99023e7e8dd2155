package server

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

var _ = register(api{key: kmsg.AlterConfigs, min: 0, max: 2, handle: handleAlterConfigs})

// maxConfigValue is the longest value of a configuration (a Kafka string of the older versions).
const maxConfigValue = 32767

// ConfigStore changes configurations: one resource in one transaction.
type ConfigStore interface {
	AlterConfigs(ctx context.Context, res metadata.ConfigResource, edits []metadata.ConfigEdit, replaceAll bool) error
}

// A resourceName names what a request wants to configure.
type resourceName struct {
	kind kmsg.ConfigResourceType
	name string
}

func handleAlterConfigs(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.AlterConfigsRequest)
	resp := kmsg.NewPtrAlterConfigsResponse()
	ctx, cancel := adminContext(ctx, 0)
	defer cancel()
	count := map[resourceName]int{}
	for _, res := range req.Resources {
		count[resourceName{res.ResourceType, res.ResourceName}]++
	}
	for _, res := range req.Resources {
		name := resourceName{res.ResourceType, res.ResourceName}
		rr := kmsg.NewAlterConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = name.kind, name.name
		err := onceOnly(count[name])
		if err == nil {
			err = s.replaceConfigs(ctx, name, res.Configs, req.ValidateOnly)
		}
		rr.ErrorCode, rr.ErrorMessage = s.code(err), explain(err)
		resp.Resources = append(resp.Resources, rr)
	}
	if !req.ValidateOnly {
		s.refresh(ctx)
	}
	return answer(resp)
}

// onceOnly refuses a resource that a request names more than once.
func onceOnly(count int) error {
	if count > 1 {
		return refuse(kerr.InvalidRequest, "Each resource must appear at most once.")
	}
	return nil
}

// replaceConfigs sets exactly the given configuration on a resource: what is not given is removed.
func (s *Server) replaceConfigs(ctx context.Context, name resourceName, configs []kmsg.AlterConfigsRequestResourceConfig, validateOnly bool) error {
	res, current, err := s.alterable(name)
	if err != nil {
		return err
	}
	next := make(map[string]string, len(configs))
	edits := make([]metadata.ConfigEdit, 0, len(configs))
	for _, c := range configs {
		if c.Value == nil {
			return refuse(kerr.InvalidRequest, "Null value not supported for : %s", c.Name)
		}
		if _, twice := next[c.Name]; twice {
			return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		next[c.Name] = *c.Value
		edits = append(edits, metadata.ConfigEdit{Name: c.Name, Value: c.Value})
	}
	if err := checkConfigs(res, current, next); err != nil || validateOnly {
		return err
	}
	return s.cfg.Store.AlterConfigs(ctx, res, edits, true)
}

// alterable resolves a resource whose configuration may be changed, and what is set on it now.
func (s *Server) alterable(name resourceName) (res metadata.ConfigResource, current map[string]string, err error) {
	im := s.cfg.Image()
	res.Broker = metadata.NoBroker
	switch name.kind {
	case kmsg.ConfigResourceTypeTopic:
		if err := CheckTopicName(name.name); err != nil {
			return res, nil, err
		}
		t := im.ByName[name.name]
		if t == nil {
			return res, nil, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", name.name)
		}
		res.Topic = t.Name
		return res, t.Configs, nil
	case kmsg.ConfigResourceTypeBroker:
		if res.Broker, err = s.brokerResource(name.name); err != nil {
			return res, nil, err
		}
		return res, im.BrokerConfigs[res.Broker], nil
	}
	return res, nil, refuse(kerr.InvalidRequest, "Configurations of resource type %d cannot be changed.", name.kind)
}

// checkConfigs checks what a resource's configuration would be. Of a broker only what changes is checked: a setting that is stored and
// no longer known must not keep others from being set.
func checkConfigs(res metadata.ConfigResource, current, next map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if len(next[name]) > maxConfigValue {
			return refuse(kerr.InvalidConfig, "The configuration value of %s is too long: at most %d bytes are allowed.", name, maxConfigValue)
		}
	}
	if res.Topic != "" {
		if err := config.CheckTopic(next); err != nil {
			return refuse(kerr.InvalidConfig, "%s", err)
		}
		return nil
	}
	var fixed []string
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if old, ok := current[name]; ok && old == next[name] {
			continue
		}
		d, ok := config.BrokerDef(name)
		switch {
		case !ok:
			return refuse(kerr.InvalidConfig, "Unknown broker config name: %s", name)
		case !d.Dynamic || d.ReadOnly:
			fixed = append(fixed, name)
		case d.Check != nil:
			if err := d.Check(next[name]); err != nil {
				return refuse(kerr.InvalidConfig, "%s", err)
			}
		}
	}
	if len(fixed) > 0 {
		return refuse(kerr.InvalidRequest, "Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))
	}
	return nil
}
