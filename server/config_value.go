package server

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

// A configValue is the effective value of one setting with where it comes from: synonyms[0] is what is in force, the rest what would be
// without it, in order of precedence.
type configValue struct {
	def      config.Def
	value    string
	null     bool // not set and without a default
	synonyms []synonym
	// own is how many of the synonyms are shown: a topic setting shows no default when no broker setting stands behind it, as in Kafka.
	shown int
}

type synonym struct {
	name, value string
	source      kmsg.ConfigSource
}

func (v configValue) sensitive() bool           { return v.def.Type == config.Password }
func (v configValue) source() kmsg.ConfigSource { return v.synonyms[0].source }

// wireValue is the value as clients may see it: null for a secret.
func (v configValue) wireValue() *string {
	if v.sensitive() || v.null {
		return nil
	}
	return &v.value
}

// topicConfigs lists all settings of a topic with overrides, by name.
func topicConfigs(b *config.Broker, im *metadata.Image, self metadata.BrokerID, overrides map[string]string) []configValue {
	defs := config.TopicDefs()
	values := make([]configValue, 0, len(defs))
	for _, d := range defs {
		v := configValue{def: d, value: b.TopicValue(overrides, d.Name)}
		if o, ok := overrides[d.Name]; ok {
			v.synonyms = append(v.synonyms, synonym{d.Name, o, kmsg.ConfigSourceDynamicTopicConfig})
		}
		if d.TopicOf != "" {
			behind := brokerSynonyms(b, im, self, d.TopicOf)
			v.synonyms = append(v.synonyms, behind...)
			v.shown = len(v.synonyms)
		}
		if v.shown == 0 {
			v.shown = len(v.synonyms)
		}
		if len(v.synonyms) == 0 {
			v.synonyms = []synonym{{d.Name, d.Default, kmsg.ConfigSourceDefaultConfig}}
		}
		values = append(values, v)
	}
	return values
}

// brokerConfigs lists all settings of this broker, by name.
func brokerConfigs(b *config.Broker, im *metadata.Image, self metadata.BrokerID) []configValue {
	defs := config.BrokerDefs()
	values := make([]configValue, 0, len(defs))
	for _, d := range defs {
		value, _ := b.Value(d.Name)
		v := configValue{def: d, value: value, synonyms: brokerSynonyms(b, im, self, d.Name)}
		v.shown = len(v.synonyms)
		if len(v.synonyms) == 0 {
			v.null = value == "" && d.Type != config.List
			v.synonyms = []synonym{{d.Name, d.Default, kmsg.ConfigSourceDefaultConfig}}
		}
		values = append(values, v)
	}
	return values
}

// brokerSynonyms lists where a broker setting is set: on this broker, for all brokers, in the file, there in coarser units, by default.
func brokerSynonyms(b *config.Broker, im *metadata.Image, self metadata.BrokerID, name string) []synonym {
	var out []synonym
	if v, ok := im.BrokerConfigs[self][name]; ok {
		out = append(out, synonym{name, v, kmsg.ConfigSourceDynamicBrokerConfig})
	}
	if v, ok := im.BrokerConfigs[metadata.NoBroker][name]; ok {
		out = append(out, synonym{name, v, kmsg.ConfigSourceDynamicDefaultBrokerConfig})
	}
	if v, set := b.Value(name); set && len(out) == 0 {
		out = append(out, synonym{name, v, kmsg.ConfigSourceStaticBrokerConfig})
	}
	for _, u := range config.Units(name) {
		if v, set := b.Value(u.Name); set {
			out = append(out, synonym{u.Name, v, kmsg.ConfigSourceStaticBrokerConfig})
		}
	}
	if d, ok := config.BrokerDef(name); ok && d.Default != "" {
		out = append(out, synonym{name, d.Default, kmsg.ConfigSourceDefaultConfig})
	}
	return out
}

// wireConfigs makes the answer of DescribeConfigs of those values that were asked for; nil names: all.
func wireConfigs(values []configValue, names []string, broker bool, req *kmsg.DescribeConfigsRequest) []kmsg.DescribeConfigsResponseResourceConfig {
	out := make([]kmsg.DescribeConfigsResponseResourceConfig, 0, len(values))
	for _, v := range values {
		if names != nil && !slices.Contains(names, v.def.Name) {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.Source, c.IsSensitive = v.def.Name, v.wireValue(), v.source(), v.sensitive()
		c.IsDefault = c.Source == kmsg.ConfigSourceDefaultConfig
		c.ReadOnly = broker && !v.def.Dynamic
		c.ConfigType = kmsg.ConfigType(v.def.Type)
		if req.IncludeDocumentation {
			c.Documentation = &v.def.Doc
		}
		if req.IncludeSynonyms {
			for _, s := range v.synonyms[:v.shown] {
				ws := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
				ws.Name, ws.Source = s.name, s.source
				if !v.sensitive() {
					ws.Value = &s.value
				}
				c.ConfigSynonyms = append(c.ConfigSynonyms, ws)
			}
		}
		out = append(out, c)
	}
	return out
}

// brokerResource parses the name of a broker resource: the id, or NoBroker for the cluster-wide default. Only this broker answers for itself.
func (s *Server) brokerResource(name string) (metadata.BrokerID, error) {
	if name == "" {
		return metadata.NoBroker, nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return 0, refuse(kerr.InvalidRequest, "Broker id must be an integer, but it is: %s", name)
	}
	if metadata.BrokerID(id) != s.cfg.Self {
		return 0, refuse(kerr.InvalidRequest, "Unexpected broker id, expected %d or empty string, but received %s", s.cfg.Self, name)
	}
	return s.cfg.Self, nil
}
