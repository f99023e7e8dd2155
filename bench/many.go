package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	idlePartitions = 20_000
	perTopic       = 1000
)

// restartPartitions is how many partitions a system has when it is killed: as many as it takes within reason.
var restartPartitions = map[string]int{"varve": 10_000, "kafka": 1000}

// createMany makes partitions in topics of perTopic, and names the topics.
func createMany(r *run, partitions int) (topics []string, err error) {
	for len(topics)*perTopic < partitions {
		name := fmt.Sprint("many-", len(topics))
		if err := createTopic(r.addr, name, perTopic, r.system.topic); err != nil {
			return nil, err
		}
		topics = append(topics, name)
	}
	return topics, nil
}

// manyIdle measures what partitions cost that nobody uses.
func manyIdle(r *run) (figures, error) {
	started := time.Now()
	if _, err := createMany(r, idlePartitions); err != nil {
		return nil, err
	}
	created := time.Since(started)
	f, err := idle(r)
	if err != nil {
		return nil, err
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid))
	if err != nil {
		return nil, err
	}
	return figures{"RSS MB": f["RSS MB"], "CPU %": f["CPU %"], "descriptors": float64(len(fds)), "created in s": created.Seconds()}, nil
}

// restart writes a record to each of many partitions, kills the broker by SIGKILL, and measures from exec to the first record that is acknowledged again.
func restart(r *run) (figures, error) {
	n := restartPartitions[r.system.name]
	topics, err := createMany(r, n)
	if err != nil {
		return nil, err
	}
	if err := writeEach(r.addr, topics); err != nil {
		return nil, err
	}
	if err := createTopic(r.addr, "bench", 1, r.system.topic); err != nil {
		return nil, err
	}
	kill := r.kill
	r.broker = nil
	if err := kill(); err != nil {
		return nil, err
	}
	again := time.Now()
	if r.broker, err = r.system.start(r.dir); err != nil {
		return nil, err
	}
	if err := acknowledgeOne(r.addr); err != nil {
		return nil, err
	}
	return figures{"partitions": float64(n), "first ack s": time.Since(again).Seconds()}, nil
}

// writeEach writes a record to every partition.
func writeEach(addr string, topics []string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, topic := range topics {
		records := make([]*kgo.Record, perTopic)
		for p := range records {
			records[p] = &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte("one")}
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("writing to %s: %w", topic, err)
		}
	}
	return nil
}
