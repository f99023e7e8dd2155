package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// elect measures what a client sees of the controller when a broker of many partitions dies.
func elect(r *clusterRun) (figures, error) {
	n := r.partitions(r.opt.electPartitions, r.opt.electKafka)
	topics, err := r.createMany(n)
	if err != nil {
		return nil, err
	}
	hurt, err := r.victim(false)
	if err != nil {
		return nil, err
	}
	cl, err := dial(r.nodes[(hurt+1)%clusterSize].addr)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	time.Sleep(r.length)
	victim := r.nodes[hurt]
	start := time.Now()
	if err := syscall.Kill(victim.pid, syscall.SIGKILL); err != nil {
		return nil, err
	}
	first, all, err := watchElection(cl, topics, int32(hurt+1), start)
	if err != nil {
		return nil, err
	}
	f := figures{"first s": first.Seconds(), "all s": all.Seconds(), "partitions": float64(n)}
	if at, ok := r.fencedAt(start); ok {
		f["fenced s"] = at.Sub(start).Seconds()
	}
	return f, victim.down(victim.kill)
}

// fencedAt is when a Varve broker first said, since start, that it fenced another.
func (c *cluster) fencedAt(start time.Time) (first time.Time, ok bool) {
	for _, n := range c.nodes {
		log, err := os.ReadFile(filepath.Join(n.dir, "varve.log"))
		if err != nil {
			continue // of Kafka there is none
		}
		for line := range bytes.Lines(log) {
			var said struct {
				Time time.Time
				Msg  string
			}
			if json.Unmarshal(line, &said) != nil || !strings.HasPrefix(said.Msg, "fenced a broker") || said.Time.Before(start) {
				continue
			}
			if !ok || said.Time.Before(first) {
				first, ok = said.Time, true
			}
		}
	}
	return first, ok
}

// watchElection asks for Metadata until the victim leads nothing and nothing is without a leader. It returns when the first of the victim's
// partitions had another leader, and when all had.
func watchElection(cl *client, topics []string, victim int32, start time.Time) (first, all time.Duration, err error) {
	before := -1
	for time.Since(start) < faultWait {
		md, err := cl.metadata(topics...)
		if err != nil {
			return 0, 0, err
		}
		left := 0
		for _, t := range md.Topics {
			for _, p := range t.Partitions {
				if p.Leader == victim || p.Leader < 0 {
					left++
				}
			}
		}
		if before >= 0 && left < before && first == 0 {
			first = time.Since(start)
		}
		before = left
		if left == 0 {
			return first, time.Since(start), nil
		}
		time.Sleep(retryPause)
	}
	return 0, 0, fmt.Errorf("%d partitions are still without a new leader after %v", before, faultWait)
}

// createMany makes partitions with three replicas each in topics of at most perTopic, and names the topics.
func (c *cluster) createMany(partitions int) (topics []string, err error) {
	for partitions > 0 {
		name := fmt.Sprint("many-", len(topics))
		if err := c.createReplicated(name, min(partitions, perTopic), nil); err != nil {
			return nil, err
		}
		topics = append(topics, name)
		partitions -= perTopic
	}
	return topics, nil
}
