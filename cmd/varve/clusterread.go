package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/config"
	"varve/metadata"
	"varve/metadata/postgres"
)

// statusTimeout bounds the reading of a cluster's state.
const statusTimeout = 15 * time.Second

// A statusSource says where a cluster's state is read.
type statusSource struct {
	config, url, bootstrap string
}

func (s statusSource) read(ctx context.Context) (clusterState, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if s.bootstrap != "" {
		if s.config != "" || s.url != "" {
			return clusterState{}, errors.New("--bootstrap asks a broker, --config and --url ask Postgres: give one of them")
		}
		return askBroker(ctx, s.bootstrap)
	}
	set, err := loadSettings(s.config)
	if err != nil {
		return clusterState{}, err
	}
	if s.url != "" {
		set["varve.metadata.url"] = s.url
	}
	if set["varve.metadata.url"] == "" {
		return clusterState{}, errors.New("nowhere to look: give --config FILE, --url postgres://user@host:port/database or --bootstrap HOST:PORT")
	}
	cfg, err := config.NewBroker(set)
	if err != nil {
		return clusterState{}, err
	}
	return askPostgres(ctx, cfg)
}

func askPostgres(ctx context.Context, cfg *config.Broker) (clusterState, error) {
	store, err := postgres.Open(ctx, postgres.Config{URL: cfg.MetadataURL})
	if err != nil {
		return clusterState{}, fmt.Errorf("varve.metadata.url: %w", err)
	}
	defer store.Close()
	im, err := store.Snapshot(ctx)
	if err != nil {
		return clusterState{}, err
	}
	sessions, err := store.Sessions(ctx)
	if err != nil {
		return clusterState{}, err
	}
	effective := cfg.WithDynamic(im.BrokerConfigs[metadata.NoBroker], nil)
	return clusterState{image: im, sessions: sessions.Brokers, controllerLive: sessions.Controller.After(sessions.Now),
		minISR: func(overrides map[string]string) int { return int(effective.Topic(overrides).MinInsyncReplicas) }}, nil
}

// askBroker makes an image of what a broker tells clients: brokers that are not live are missing from it.
func askBroker(ctx context.Context, addr string) (clusterState, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return clusterState{}, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	told, err := admin.Metadata(ctx)
	if err != nil {
		return clusterState{}, fmt.Errorf("asking %s: %w", addr, err)
	}
	im := &metadata.Image{Controller: metadata.BrokerID(told.Controller), Brokers: map[metadata.BrokerID]*metadata.Broker{}, Topics: map[metadata.TopicID]*metadata.Topic{}}
	im.Version = -1                                                              // a broker does not tell it
	if id, err := base64.RawURLEncoding.DecodeString(told.Cluster); err == nil { // as Kafka writes ids; it is only shown
		im.ClusterID, _ = uuid.FromBytes(id)
	}
	for _, b := range told.Brokers {
		rack := ""
		if b.Rack != nil {
			rack = *b.Rack
		}
		id := metadata.BrokerID(b.NodeID)
		im.Brokers[id] = &metadata.Broker{ID: id, Host: b.Host, Port: b.Port, Rack: rack}
	}
	names := told.Topics.Names()
	for _, t := range told.Topics {
		topic := &metadata.Topic{ID: metadata.TopicID(t.ID), Name: t.Topic, Configs: map[string]string{}}
		for _, p := range t.Partitions.Sorted() {
			topic.Partitions = append(topic.Partitions, toldPartition(p))
		}
		im.Topics[topic.ID] = topic
	}
	if err := tellMinISR(ctx, admin, im, names); err != nil {
		return clusterState{}, fmt.Errorf("asking %s: %w", addr, err)
	}
	minISR := func(overrides map[string]string) int {
		n, _ := strconv.Atoi(overrides["min.insync.replicas"])
		return n
	}
	return clusterState{image: im, minISR: minISR, controllerLive: told.Controller >= 0}, nil
}

// toldPartition is a partition as Metadata tells it. A replica that is offline although its broker lives has a directory that no broker has.
func toldPartition(p kadm.PartitionDetail) *metadata.Partition {
	out := &metadata.Partition{Leader: metadata.BrokerID(p.Leader), LeaderEpoch: p.LeaderEpoch}
	out.TopicPartition.Partition = p.Partition
	for _, id := range p.Replicas {
		dir := uuid.Nil
		if slices.Contains(p.OfflineReplicas, id) {
			dir = uuid.Max
		}
		out.Replicas, out.Dirs = append(out.Replicas, metadata.BrokerID(id)), append(out.Dirs, dir)
	}
	for _, id := range p.ISR {
		out.ISR = append(out.ISR, metadata.BrokerID(id))
	}
	return out
}

func tellMinISR(ctx context.Context, admin *kadm.Client, im *metadata.Image, names []string) error {
	if len(names) == 0 {
		return nil
	}
	described, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return err
	}
	effective := map[string]string{}
	for _, r := range described {
		for _, c := range r.Configs {
			if c.Key == "min.insync.replicas" {
				effective[r.Name] = c.MaybeValue()
			}
		}
	}
	for _, t := range im.Topics {
		t.Configs["min.insync.replicas"] = effective[t.Name]
	}
	return nil
}
