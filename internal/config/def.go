package config

import (
	"cmp"
	"slices"
)

// Type is the wire type of a configuration value (DescribeConfigs v3+ config types).
type Type int8

// The types of DescribeConfigs, by their numbers on the wire.
const (
	Boolean Type = iota + 1
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

// Def describes one setting.
type Def struct {
	Name    string
	Type    Type
	Default string
	Doc     string
	Topic   bool // a topic configuration
	Broker  bool // a broker configuration
	// TopicOf is, for a topic setting, the broker setting that is its default (log.segment.bytes for segment.bytes); empty: none.
	TopicOf  string
	Dynamic  bool // may change without a restart
	ReadOnly bool
	// Hidden settings are accepted but not listed by DescribeConfigs (Kafka's internal ones).
	Hidden bool
	// Check reports why a value is not acceptable, nil when it is.
	Check func(value string) error
}

// A table holds the settings of one scope, by name and in order.
type table struct {
	byName map[string]Def
	listed []Def
}

func newTable(defs []Def) table {
	t := table{byName: make(map[string]Def, len(defs))}
	for _, d := range defs {
		if _, twice := t.byName[d.Name]; twice {
			panic("config: " + d.Name + " is defined twice")
		}
		t.byName[d.Name] = d
		if !d.Hidden {
			t.listed = append(t.listed, d)
		}
	}
	slices.SortFunc(t.listed, func(a, b Def) int { return cmp.Compare(a.Name, b.Name) })
	return t
}

// Built lazily by the package's initialization order: checks before tables.
var (
	topics  = newTable(topicTable())
	brokers = newTable(brokerTable())
)

// TopicDefs lists the topic settings by name. The caller must not change the slice.
func TopicDefs() []Def { return topics.listed }

// BrokerDefs lists the broker settings by name. The caller must not change the slice.
func BrokerDefs() []Def { return brokers.listed }

// TopicDef finds a topic setting, hidden ones included.
func TopicDef(name string) (Def, bool) { d, ok := topics.byName[name]; return d, ok }

// BrokerDef finds a broker setting, hidden ones included.
func BrokerDef(name string) (Def, bool) { d, ok := brokers.byName[name]; return d, ok }
