package main

import (
	"context"
	"sync"
	"time"
)

// retryPause is the prober's only pause: after an error, before the partition is tried again and before Metadata is asked again.
const retryPause = 10 * time.Millisecond

// A view is who leads the partitions of the probed topic, as far as the prober has heard: from Metadata, and from the current leaders that
// Produce v10 names beside an error (KIP-951). Safe for concurrent use.
type view struct {
	topic  string
	addr   string        // of the broker that is asked, one that is not hurt
	wanted chan struct{} // holds a token when somebody's view did not work
	mu     struct {
		sync.Mutex
		leaders []leadership
	}
}

// A leadership is one partition's leader, -1 for none, in its epoch.
type leadership struct{ leader, epoch int32 }

func newView(topic, addr string, partitions int) (*view, error) {
	v := &view{topic: topic, addr: addr, wanted: make(chan struct{}, 1)}
	v.mu.leaders = make([]leadership, partitions)
	for i := range v.mu.leaders {
		v.mu.leaders[i] = leadership{-1, -1}
	}
	return v, v.refresh()
}

func (v *view) leader(partition int32) int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.leaders[partition].leader
}

// learn takes what is not older than what is known.
func (v *view) learn(partition, leader, epoch int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := &v.mu.leaders[partition]; epoch >= l.epoch {
		*l = leadership{leader, epoch}
	}
}

// demand asks for a refresh soon.
func (v *view) demand() {
	select {
	case v.wanted <- struct{}{}:
	default:
	}
}

func (v *view) refresh() error {
	c, err := dial(v.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return v.refreshBy(c)
}

func (v *view) refreshBy(c *client) error {
	md, err := c.metadata(v.topic)
	if err != nil {
		return err
	}
	for _, p := range md.Topics[0].Partitions {
		v.learn(p.Partition, p.Leader, p.LeaderEpoch)
	}
	return nil
}

// run refreshes whenever that is demanded, at most every retryPause, until ctx ends.
func (v *view) run(ctx context.Context) error {
	c, err := dial(v.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.wanted:
		}
		if err := v.refreshBy(c); err != nil {
			return err
		}
		time.Sleep(retryPause)
	}
}
