package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// createReplicated makes a topic with three replicas of each partition and min.insync.replicas=2, led in turn by the brokers, and
// waits until every replica is in sync. extra wins over the cluster's topic configuration. The assignment is given, so that it is the same
// for every system.
func (c *cluster) createReplicated(name string, partitions int, extra map[string]*string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.nodes[0].addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	for p := range partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(p)
		for i := range clusterSize {
			turn := 1 + p/clusterSize%2 // who comes second takes over: half of what a broker leads goes to each of the others
			a.Replicas = append(a.Replicas, int32((p+i*turn)%clusterSize+1))
		}
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	configs := map[string]*string{"min.insync.replicas": text("2")}
	maps.Copy(configs, c.configs)
	maps.Copy(configs, extra)
	for key, value := range configs {
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		kv.Name, kv.Value = key, value
		t.Configs = append(t.Configs, kv)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 120_000
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		why := text("")
		if resp.Topics[0].ErrorMessage != nil {
			why = resp.Topics[0].ErrorMessage
		}
		return fmt.Errorf("create topic %s: %w (%s)", name, err, *why)
	}
	return c.awaitInSync(name, partitions, 5*time.Minute)
}

// awaitInSync waits until every running broker says of every partition of the topic that it has a leader and clusterSize replicas in sync,
// and the leaders themselves know: the answer to Metadata may be ahead of them.
func (c *cluster) awaitInSync(topic string, partitions int, within time.Duration) error {
	if err := c.await(within, func(_ *node, cl *client) error { return fullISR(cl, topic, partitions) }); err != nil {
		return err
	}
	targets, err := c.led(topic)
	if err != nil {
		return err
	}
	return c.await(within, func(n *node, cl *client) error {
		for _, t := range targets {
			if t.addr == n.addr && len(t.partitions) > 0 {
				_, err := cl.offsetsOf(topic, t.partitions, -1)
				return err
			}
		}
		return nil
	})
}

func fullISR(cl *client, topic string, partitions int) error {
	md, err := cl.metadata(topic)
	if err != nil {
		return err
	}
	if got := len(md.Topics[0].Partitions); got != partitions {
		return fmt.Errorf("%s has %d partitions of %d: %w", topic, got, partitions, kerr.ErrorForCode(md.Topics[0].ErrorCode))
	}
	for _, p := range md.Topics[0].Partitions {
		if p.Leader < 0 || len(p.ISR) != clusterSize {
			return fmt.Errorf("%s-%d: leader %d, in sync %v", topic, p.Partition, p.Leader, p.ISR)
		}
	}
	return nil
}

// await asks every running broker until ok says nil of each, every 10 ms, or fails with the last answer.
func (c *cluster) await(within time.Duration, ok func(n *node, cl *client) error) error {
	deadline := time.Now().Add(within)
	for _, n := range c.nodes {
		if n.broker == nil {
			continue
		}
		cl, err := dial(n.addr)
		if err != nil {
			return err
		}
		defer cl.Close()
		for {
			err := ok(n, cl)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return errors.Join(fmt.Errorf("not within %v on %s", within, n.addr), err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// led returns who leads which partitions of the topic.
func (c *cluster) led(topic string) ([]target, error) {
	cl, err := dial(c.nodes[0].addr)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	md, err := cl.metadata(topic)
	if err != nil {
		return nil, err
	}
	targets := make([]target, len(c.nodes))
	for i, n := range c.nodes {
		targets[i].addr = n.addr
	}
	for _, p := range md.Topics[0].Partitions {
		if p.Leader < 1 || int(p.Leader) > len(targets) {
			return nil, fmt.Errorf("%s-%d is led by %d", topic, p.Partition, p.Leader)
		}
		t := &targets[p.Leader-1]
		t.partitions = append(t.partitions, p.Partition)
	}
	return targets, nil
}
