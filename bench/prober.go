package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

const (
	probeVersion = 10 // of Produce: the first that names the current leader
	probeSize    = 64 // bytes of a record
)

// A prober keeps producing one small record to every partition of a topic with acks=all, each about every interval, and measures how long a partition
// goes without an acknowledgement. Its pauses are the same for every system.
type prober struct {
	topic    string
	addrs    map[int32]string // by broker id
	interval time.Duration
	batch    []byte
	view     *view
	origin   time.Time
	armed    atomic.Int64 // nanoseconds since origin, 0: not yet
	tracks   []track      // by partition
	stop     context.CancelFunc
	group    *errgroup.Group
}

// A track is what happened to one partition. last is read by everybody, the rest belongs to the lane.
type track struct {
	last   atomic.Int64  // acknowledgement, in nanoseconds since origin; 0: none
	before time.Duration // sum of the gaps that ended before the fault
	count  int           // of those
	gap    time.Duration // longest one that ended after it
}

// startProber probes the topic from now on. hurt is the node that a fault will hit: it is not asked for metadata, so that no gap holds a
// timeout of that.
func (c *cluster) startProber(topic string, led []target, hurt int, interval time.Duration) (*prober, error) {
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	p := &prober{topic: topic, addrs: map[int32]string{}, interval: interval, batch: newBatchOf(1, probeSize), origin: time.Now(), stop: cancel, group: g}
	partitions := 0
	for i, n := range c.nodes {
		p.addrs[int32(i+1)] = n.addr
		partitions += len(led[i].partitions)
	}
	p.tracks = make([]track, partitions)
	var err error
	if p.view, err = newView(topic, c.nodes[(hurt+1)%len(c.nodes)].addr, partitions); err != nil {
		cancel()
		return nil, err
	}
	g.Go(func() error { return p.view.run(ctx) })
	lanes := 0
	for _, t := range led {
		for part := range slices.Chunk(t.partitions, laneSize) {
			l := &lane{p: p, partitions: part, due: make([]time.Time, len(part)), conns: map[int32]*client{}}
			first := time.Now().Add(time.Duration(lanes) * 7 * time.Millisecond % interval) // not all at once
			for i := range l.due {
				l.due[i] = first
			}
			lanes++
			g.Go(func() error { return l.run(ctx) })
		}
	}
	return p, nil
}

// acknowledged notes an acknowledgement of the partition; its lane calls it.
func (p *prober) acknowledged(partition int32, at time.Time) {
	t := &p.tracks[partition]
	now := int64(at.Sub(p.origin))
	before := t.last.Swap(now)
	if before == 0 {
		return
	}
	gap := time.Duration(now - before)
	if armed := p.armed.Load(); armed != 0 && now > armed {
		t.gap = max(t.gap, gap)
	} else if armed == 0 {
		t.before += gap
		t.count++
	}
}

// arm says that the fault comes now: gaps that end from now on count.
func (p *prober) arm() { p.armed.Store(int64(time.Since(p.origin))) }

// settled waits until least has passed and every partition was acknowledged within the last second, or for most.
func (p *prober) settled(least, most time.Duration) {
	start := time.Now()
	for time.Since(start) < most {
		time.Sleep(100 * time.Millisecond)
		if time.Since(start) >= least && p.silent() == 0 {
			return
		}
	}
}

// silent is the number of partitions without an acknowledgement in the last second.
func (p *prober) silent() (count int) {
	limit := int64(time.Since(p.origin) - time.Second)
	for i := range p.tracks {
		if p.tracks[i].last.Load() < limit {
			count++
		}
	}
	return count
}

// warmUp probes for length and makes sure that every partition answers.
func (p *prober) warmUp(length time.Duration) error {
	p.settled(length, length+time.Minute)
	if n := p.silent(); n > 0 {
		return fmt.Errorf("%d of %d partitions acknowledge nothing before the fault", n, len(p.tracks))
	}
	return nil
}

// end stops probing. The gaps of partitions that are still silent last until now.
func (p *prober) end() error {
	p.stop()
	err := p.group.Wait()
	now := int64(time.Since(p.origin))
	for i := range p.tracks {
		t := &p.tracks[i]
		t.gap = max(t.gap, time.Duration(now-t.last.Load()))
	}
	return err
}

// gaps are the longest gaps of the partitions that ended after the fault.
func (p *prober) gaps(partitions []int32) latencies {
	var l latencies
	for _, i := range partitions {
		l = append(l, p.tracks[i].gap)
	}
	return l
}

// probeFrame is a Produce with the batch for each of the partitions.
func probeFrame(topic string, partitions []int32, batch []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version = probeVersion
	req.Acks = -1
	req.TimeoutMillis = 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, index := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = index
		p.Records = batch
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return frame(req)
}
