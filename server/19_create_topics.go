package server

import (
	"context"

	"varve/metadata"
)

// TopicStore changes topics, each call one transaction. Index i of a result belongs to item i; failures of items are *kerr.Error values.
type TopicStore interface {
	CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) ([]metadata.CreatedTopic, error)
	DeleteTopics(ctx context.Context, topics []metadata.TopicRef) ([]error, error)
	AddPartitions(ctx context.Context, topic string, added [][]metadata.BrokerID, from int, validateOnly bool) error
}

// ConfigStore changes configurations: one resource in one transaction.
type ConfigStore interface {
	AlterConfigs(ctx context.Context, res metadata.ConfigResource, edits []metadata.ConfigEdit, replaceAll bool) error
}

// ElectionStore elects leaders. nil tps: of all partitions.
type ElectionStore interface {
	ElectLeaders(ctx context.Context, kind metadata.ElectionType, tps []metadata.TopicPartition) ([]error, error)
}

func (s *Server) autoCreate(ctx context.Context, im *metadata.Image, names []string) {}
