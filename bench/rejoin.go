package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	rejoinSegment = 16 << 20 // bytes, and no more than one sealed segment stays local beside the active one
	rejoinLocal   = 2 * rejoinSegment
)

// rejoin fills the bucket step by step, and at each step lets a broker with an emptied disk come back.
func rejoin(r *clusterRun) (figures, error) {
	configs := map[string]*string{
		"remote.storage.enable": text("true"), "local.retention.ms": text("1"), "local.retention.bytes": text("1"),
		"retention.ms": text("-1"), "segment.bytes": text(fmt.Sprint(rejoinSegment)),
	}
	if err := r.createReplicated("bench", rf3Partitions, configs); err != nil {
		return nil, err
	}
	hurt, err := r.victim(false)
	if err != nil {
		return nil, err
	}
	f, filled := figures{}, int64(0)
	for _, word := range strings.Split(r.opt.rejoinMB, ",") {
		mb, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("-rejoin: %w", err)
		}
		targets, err := r.led("bench")
		if err != nil {
			return nil, err
		}
		if err := saturate(targets, "bench", 2, 2, newBatch(bigBatch), mb*1e6-filled); err != nil {
			return nil, err
		}
		filled = mb * 1e6
		if err := r.awaitTiered("bench", targets); err != nil {
			return nil, err
		}
		ready, took, err := r.replace(r.nodes[hurt])
		if err != nil {
			return nil, err
		}
		f[fmt.Sprintf("%d MB: in sync s", mb)], f[fmt.Sprintf("%d MB: ready s", mb)] = took.Seconds(), ready.Seconds()
	}
	return f, nil
}

// awaitTiered waits until the leaders keep no more than rejoinLocal of each partition.
func (c *cluster) awaitTiered(topic string, targets []target) error {
	return c.await(10*time.Minute, func(n *node, cl *client) error {
		for _, t := range targets {
			if t.addr != n.addr || len(t.partitions) == 0 {
				continue
			}
			end, err := cl.offsetsOf(topic, t.partitions, -1)
			if err != nil {
				return err
			}
			local, err := cl.offsetsOf(topic, t.partitions, -4)
			if err != nil {
				return err
			}
			for p := range end {
				if end[p]-local[p] > rejoinLocal/recordSize {
					return fmt.Errorf("%s-%d has [%d, %d) on the local disk", topic, p, local[p], end[p])
				}
			}
		}
		return nil
	})
}

// replace kills a node, empties its disk once it is in sync nowhere, and returns the times from exec until it is ready and until it is in
// sync everywhere.
func (c *cluster) replace(n *node) (ready, inSync time.Duration, err error) {
	if err := n.down(n.kill); err != nil {
		return 0, 0, err
	}
	id := int32(0)
	for i, other := range c.nodes {
		if other == n {
			id = int32(i + 1)
		}
	}
	err = c.await(time.Minute, func(_ *node, cl *client) error {
		md, err := cl.metadata("bench")
		if err != nil {
			return err
		}
		for _, p := range md.Topics[0].Partitions {
			for _, r := range p.ISR {
				if r == id {
					return fmt.Errorf("the killed broker is still in sync for partition %d", p.Partition)
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if err := os.RemoveAll(n.logDir()); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := n.run(); err != nil {
		return 0, 0, err
	}
	ready = time.Since(start)
	err = c.await(10*time.Minute, func(_ *node, cl *client) error { return fullISR(cl, "bench", rf3Partitions) })
	return ready, time.Since(start), err
}
