// Package config is the one table of Kafka's and Varve's settings: name, type, default, bounds, scope, documentation. It feeds the
// configuration loader, DescribeConfigs and the checks of CreateTopics and AlterConfigs. It is a leaf: it imports nothing of varve.
//
//	def.go          what a Def is, look-ups
//	check.go        bounds and enumerations
//	topic_defs.go   the topic settings
//	broker_defs.go  the broker settings
//	topic.go        a topic's effective configuration
//	broker.go       a broker's effective configuration
//
// A topic setting is resolved as Kafka does it: the topic's override, else the value of the broker setting that stands behind it (Def.TopicOf),
// else the default.
package config
