package server

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// maxTopicName is Kafka's limit, made so that a directory name "topic-partition" fits.
const maxTopicName = 249

// Operations that a client is allowed without an authorizer, as bits of Kafka's AclOperation codes.
const (
	topicOperations   = 3576
	clusterOperations = 8096
	notAsked          = -1 << 31
)

// reservedTopics are Kafka's own topics. Varve keeps offsets and transactions in Postgres: they do not exist and nobody may make them.
var reservedTopics = map[string]bool{"__consumer_offsets": true, "__transaction_state": true, "__share_group_state": true, "__cluster_metadata": true}

// CheckTopicName is Kafka's Topic.validate: INVALID_TOPIC_EXCEPTION for a name that no topic may have.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return refuse(kerr.InvalidTopicException, "Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(kerr.InvalidTopicException, "Topic name is invalid: '%s' is not allowed", name)
	case len(name) > maxTopicName:
		return refuse(kerr.InvalidTopicException, "Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, maxTopicName)
	case strings.ContainsFunc(name, notTopicRune):
		return refuse(kerr.InvalidTopicException,
			"Topic name is invalid: '%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

func notTopicRune(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
}

// checkNewTopicName adds what holds for names of topics to create: not reserved, not taken, and no collision with another topic in
// metric names, where '.' becomes '_'. metricNames maps the metric name of every topic there is to its name.
func checkNewTopicName(im *metadata.Image, metricNames map[string]string, name string) error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if reservedTopics[name] {
		return refuse(kerr.InvalidTopicException, "Topic '%s' is reserved: offsets and transactions are kept in the metadata store", name)
	}
	if im.ByName[name] != nil {
		return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if other, taken := metricNames[metricName(name)]; taken {
		return refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// metricName is what a topic is called in the names of Kafka's metrics.
func metricName(topic string) string { return strings.ReplaceAll(topic, ".", "_") }
