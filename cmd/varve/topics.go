package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/server"
)

// A newTopic is a topic of the --topic flag; partitions 0: the broker's default.
type newTopic struct {
	name       string
	partitions int32
}

// maxFlagPartitions bounds what --topic asks for.
const maxFlagPartitions = 10_000

// parseTopics reads NAME and NAME:PARTITIONS.
func parseTopics(flags []string) ([]newTopic, error) {
	var topics []newTopic
	for _, text := range flags {
		name, count, counted := strings.Cut(text, ":")
		t := newTopic{name: name}
		if counted {
			n, err := strconv.ParseInt(count, 10, 32)
			if err != nil || n < 1 || n > maxFlagPartitions {
				return nil, fmt.Errorf("--topic %s: want NAME:PARTITIONS with 1 to %d partitions", text, maxFlagPartitions)
			}
			t.partitions = int32(n)
		}
		if err := server.CheckTopicName(name); err != nil {
			return nil, fmt.Errorf("--topic %q: %w", text, err)
		}
		topics = append(topics, t)
	}
	return topics, nil
}

// createTopics makes the topics that do not exist, on this broker.
func (b *broker) createTopics(ctx context.Context, topics []newTopic) error {
	if len(topics) == 0 {
		return nil
	}
	var create []metadata.NewTopic
	for _, t := range topics {
		n := t.partitions
		if n == 0 {
			n = b.cfg.NumPartitions
		}
		assignment := make([][]metadata.BrokerID, n)
		for p := range assignment {
			assignment[p] = []metadata.BrokerID{metadata.BrokerID(b.cfg.NodeID)}
		}
		create = append(create, metadata.NewTopic{Name: t.name, Assignment: assignment})
	}
	created, err := b.store.CreateTopics(ctx, create, false)
	if err != nil {
		return fmt.Errorf("--topic: %w", err)
	}
	for i, c := range created {
		if c.Err != nil && !errors.Is(c.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("--topic %s: %w", topics[i].name, c.Err)
		}
	}
	return b.publisher.Refresh(ctx)
}
