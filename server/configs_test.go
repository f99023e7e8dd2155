package server

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topicResource  = kmsg.ConfigResourceTypeTopic
	brokerResource = kmsg.ConfigResourceTypeBroker
)

type configEntry = kmsg.DescribeConfigsResponseResourceConfig

func describeConfigs(p *peer, kind kmsg.ConfigResourceType, name string, names ...string) (map[string]configEntry, int16) {
	p.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName, res.ConfigNames = kind, name, names
	req.Resources = append(req.Resources, res)
	got := ask[*kmsg.DescribeConfigsResponse](p, req, 4).Resources[0]
	entries := map[string]configEntry{}
	for _, c := range got.Configs {
		entries[c.Name] = c
	}
	return entries, got.ErrorCode
}

type configOp struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

func alterConfigs(p *peer, kind kmsg.ConfigResourceType, name string, ops ...configOp) int16 {
	p.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, name
	for _, o := range ops {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = o.name, o.op, o.value
		res.Configs = append(res.Configs, c)
	}
	req.Resources = append(req.Resources, res)
	return ask[*kmsg.IncrementalAlterConfigsResponse](p, req, 1).Resources[0].ErrorCode
}

func ptr(s string) *string { return &s }

// TestTopicConfigs follows one topic's configuration through set, append, subtract, delete and replacement, with the sources that tools show.
func TestTopicConfigs(t *testing.T) {
	c := startCluster(t, map[string]string{"log.segment.bytes": "104857600"})
	p := dial(t, c.addr)
	create(p, false, topicRequest("wire", 1, 1))
	all, code := describeConfigs(p, topicResource, "wire")
	checkCode(t, "describe", code, nil, nil)
	if e := all["segment.bytes"]; *e.Value != "104857600" || e.Source != kmsg.ConfigSourceStaticBrokerConfig || e.ConfigSynonyms[0].Name != "log.segment.bytes" {
		t.Errorf("segment.bytes from the broker's file: %+v", e)
	}
	if e := all["cleanup.policy"]; *e.Value != "delete" || e.Source != kmsg.ConfigSourceDefaultConfig || e.ConfigType != kmsg.ConfigTypeList || *e.Documentation == "" {
		t.Errorf("cleanup.policy by default: %+v", e)
	}
	for _, step := range []struct {
		what  string
		op    configOp
		code  error
		name  string
		value string
	}{
		{"set", configOp{"retention.bytes", opSet, ptr("1000000")}, nil, "retention.bytes", "1000000"},
		{"append", configOp{"cleanup.policy", opAppend, ptr("compact")}, nil, "cleanup.policy", "delete,compact"},
		{"append again", configOp{"cleanup.policy", opAppend, ptr("compact")}, nil, "cleanup.policy", "delete,compact"},
		{"subtract", configOp{"cleanup.policy", opSubtract, ptr("compact")}, nil, "cleanup.policy", "delete"},
		{"append to a number", configOp{"retention.ms", opAppend, ptr("5")}, kerr.InvalidConfig, "retention.ms", *all["retention.ms"].Value},
		{"no number", configOp{"retention.ms", opSet, ptr("soon")}, kerr.InvalidConfig, "retention.ms", *all["retention.ms"].Value},
		{"null", configOp{"retention.ms", opSet, nil}, kerr.InvalidRequest, "retention.ms", *all["retention.ms"].Value},
		{"unknown operation", configOp{"retention.ms", 9, ptr("1")}, kerr.InvalidRequest, "retention.ms", *all["retention.ms"].Value},
		{"unknown config", configOp{"no.such.config", opSet, ptr("1")}, kerr.InvalidConfig, "retention.ms", *all["retention.ms"].Value},
		{"delete", configOp{"retention.bytes", opDelete, nil}, nil, "retention.bytes", "-1"},
	} {
		checkCode(t, step.what, alterConfigs(p, topicResource, "wire", step.op), step.code, nil)
		now, _ := describeConfigs(p, topicResource, "wire", step.name)
		if len(now) != 1 || *now[step.name].Value != step.value {
			t.Errorf("after %s: %+v, want %s", step.what, now, step.value)
		}
	}
	both := []configOp{{"retention.ms", opSet, ptr("1")}, {"retention.ms", opDelete, nil}}
	checkCode(t, "one config twice", alterConfigs(p, topicResource, "wire", both...), kerr.InvalidRequest, nil)
	checkCode(t, "unknown topic", alterConfigs(p, topicResource, "nowhere", both[0]), kerr.UnknownTopicOrPartition, nil)
	_, code = describeConfigs(p, topicResource, "nowhere")
	checkCode(t, "describe an unknown topic", code, kerr.UnknownTopicOrPartition, nil)
	_, code = describeConfigs(p, 99, "x")
	checkCode(t, "unknown resource type", code, kerr.InvalidRequest, nil)

	replace := kmsg.NewPtrAlterConfigsRequest()
	res := kmsg.NewAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = topicResource, "wire"
	rc := kmsg.NewAlterConfigsRequestResourceConfig()
	rc.Name, rc.Value = "retention.ms", ptr("1234")
	res.Configs = append(res.Configs, rc)
	replace.Resources = append(replace.Resources, res)
	checkCode(t, "replace", ask[*kmsg.AlterConfigsResponse](p, replace, 2).Resources[0].ErrorCode, nil, nil)
	now, _ := describeConfigs(p, topicResource, "wire")
	if e := now["retention.ms"]; *e.Value != "1234" || e.Source != kmsg.ConfigSourceDynamicTopicConfig {
		t.Errorf("after the replacement: %+v", e)
	}
	if e := now["cleanup.policy"]; e.Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("what the replacement does not name is still set: %+v", e)
	}
}

// TestBrokerConfigs: what kafka-ui asks is there; dynamic settings show with their source; fixed ones cannot be changed.
func TestBrokerConfigs(t *testing.T) {
	c := startCluster(t, nil)
	p := dial(t, c.addr)
	all, code := describeConfigs(p, brokerResource, "1")
	checkCode(t, "describe", code, nil, nil)
	for _, name := range []string{"inter.broker.protocol.version", "delete.topic.enable", "node.id", "log.retention.ms", "min.insync.replicas"} {
		if _, ok := all[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	if e := all["node.id"]; *e.Value != "1" || !e.ReadOnly || e.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("node.id: %+v", e)
	}
	for name, want := range map[string]error{"9": kerr.InvalidRequest, "nine": kerr.InvalidRequest, "": nil} {
		_, code = describeConfigs(p, brokerResource, name)
		checkCode(t, "broker "+name, code, want, nil)
	}
	checkCode(t, "set for all", alterConfigs(p, brokerResource, "", configOp{"log.retention.ms", opSet, ptr("1000")}), nil, nil)
	now, _ := describeConfigs(p, brokerResource, "1", "log.retention.ms")
	if e := now["log.retention.ms"]; *e.Value != "1000" || e.Source != kmsg.ConfigSourceDynamicDefaultBrokerConfig {
		t.Errorf("set for all: %+v", e)
	}
	checkCode(t, "set for one", alterConfigs(p, brokerResource, "1", configOp{"log.retention.ms", opSet, ptr("2000")}), nil, nil)
	now, _ = describeConfigs(p, brokerResource, "1", "log.retention.ms")
	if e := now["log.retention.ms"]; *e.Value != "2000" || e.Source != kmsg.ConfigSourceDynamicBrokerConfig || len(e.ConfigSynonyms) < 2 {
		t.Errorf("set for one: %+v", e)
	}
	checkCode(t, "fixed", alterConfigs(p, brokerResource, "1", configOp{"node.id", opSet, ptr("2")}), kerr.InvalidRequest, nil)
	checkCode(t, "unknown", alterConfigs(p, brokerResource, "1", configOp{"no.such", opSet, ptr("2")}), kerr.InvalidConfig, nil)
	for name, e := range all {
		if e.ConfigType == kmsg.ConfigTypePassword && e.Value != nil {
			t.Errorf("%s shows a secret", name)
		}
	}
}
