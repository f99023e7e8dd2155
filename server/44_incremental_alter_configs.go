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

var _ = register(api{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, handle: handleIncrementalAlterConfigs})

func handleIncrementalAlterConfigs(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.IncrementalAlterConfigsRequest)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	ctx, cancel := adminContext(ctx, 0)
	defer cancel()
	count := map[resourceName]int{}
	for _, res := range req.Resources {
		count[resourceName{res.ResourceType, res.ResourceName}]++
	}
	for _, res := range req.Resources {
		name := resourceName{res.ResourceType, res.ResourceName}
		rr := kmsg.NewIncrementalAlterConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = name.kind, name.name
		err := onceOnly(count[name])
		if err == nil {
			err = s.editConfigs(ctx, name, res.Configs, req.ValidateOnly)
		}
		rr.ErrorCode, rr.ErrorMessage = s.code(err), explain(err)
		resp.Resources = append(resp.Resources, rr)
	}
	if !req.ValidateOnly {
		s.refresh(ctx)
	}
	return answer(resp)
}

// editConfigs applies the operations to one resource: all of them or none.
func (s *Server) editConfigs(ctx context.Context, name resourceName, ops []kmsg.IncrementalAlterConfigsRequestResourceConfig, validateOnly bool) error {
	res, current, err := s.alterable(name)
	if err != nil {
		return err
	}
	next := maps.Clone(current)
	if next == nil {
		next = map[string]string{}
	}
	edits := make([]metadata.ConfigEdit, 0, len(ops))
	edited := make(map[string]bool, len(ops))
	for _, op := range ops {
		if edited[op.Name] {
			return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		edited[op.Name] = true
	}
	for _, op := range ops {
		if op.Op == kmsg.IncrementalAlterConfigOpDelete {
			delete(next, op.Name)
			edits = append(edits, metadata.ConfigEdit{Name: op.Name})
			continue
		}
		value, err := s.newValue(res, current, op)
		if err != nil {
			return err
		}
		next[op.Name] = value
		edits = append(edits, metadata.ConfigEdit{Name: op.Name, Value: &value})
	}
	if err := checkConfigs(res, current, next); err != nil || validateOnly {
		return err
	}
	return s.cfg.Store.AlterConfigs(ctx, res, edits, false)
}

// newValue is what SET, APPEND or SUBTRACT makes of a setting.
func (s *Server) newValue(res metadata.ConfigResource, current map[string]string, op kmsg.IncrementalAlterConfigsRequestResourceConfig) (string, error) {
	switch op.Op {
	case kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
	default:
		return "", refuse(kerr.InvalidRequest, "Unknown operation %d on configuration %s", op.Op, op.Name)
	}
	if op.Value == nil {
		return "", refuse(kerr.InvalidRequest, "Null value not supported for : %s", op.Name)
	}
	if op.Op == kmsg.IncrementalAlterConfigOpSet {
		return *op.Value, nil
	}
	value := s.effective(res, current, op.Name)
	d, known := config.TopicDef(op.Name)
	if res.Topic == "" {
		d, known = config.BrokerDef(op.Name)
	}
	if known && d.Type != config.List {
		return "", refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", strings.ToUpper(op.Op.String()), op.Name)
	}
	list, change := splitList(value), splitList(*op.Value)
	if op.Op == kmsg.IncrementalAlterConfigOpSubtract {
		list = slices.DeleteFunc(list, func(v string) bool { return slices.Contains(change, v) })
		return strings.Join(list, ","), nil
	}
	for _, v := range change {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return strings.Join(list, ","), nil
}

// effective is the value of a setting that a list operation begins with.
func (s *Server) effective(res metadata.ConfigResource, current map[string]string, name string) string {
	b := s.cfg.Broker()
	if _, known := config.TopicDef(name); known && res.Topic != "" {
		return b.TopicValue(current, name)
	}
	if v, ok := current[name]; ok {
		return v
	}
	if _, known := config.BrokerDef(name); known && res.Topic == "" {
		v, _ := b.Value(name)
		return v
	}
	return ""
}

// splitList splits a list value, without the empty items.
func splitList(v string) []string {
	return slices.DeleteFunc(strings.Split(v, ","), func(s string) bool { return s == "" })
}
