package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A target is a broker and the partitions that it leads.
type target struct {
	addr       string
	partitions []int32
}

// alone is the target of a broker that leads all partitions.
func alone(addr string, partitions int) []target {
	t := target{addr: addr}
	for p := range partitions {
		t.partitions = append(t.partitions, int32(p))
	}
	return []target{t}
}

// share is the part of all partitions that targets[i] leads.
func share(targets []target, i int) float64 {
	all := 0
	for _, t := range targets {
		all += len(t.partitions)
	}
	return float64(len(targets[i].partitions)) / float64(all)
}

// frames are produce requests of one batch each, one for each partition of t.
func (t target) frames(topic string, batch []byte) [][]byte {
	frames := make([][]byte, len(t.partitions))
	for i, p := range t.partitions {
		frames[i] = produceFrame(topic, p, batch)
	}
	return frames
}

// saturate produces total bytes of batches with acks=all over conns connections to each target, each with up to inflight
// requests on their way, round robin over the target's partitions.
func saturate(targets []target, topic string, conns, inflight int, batch []byte, total int64) error {
	var g errgroup.Group
	for i, t := range targets {
		perConn := int(float64(total) * share(targets, i) / float64(len(batch)) / float64(conns))
		for n := range conns {
			g.Go(func() error {
				frames := t.frames(topic, batch)
				return pipeline(t.addr, inflight, perConn, func(i int) []byte { return frames[(i+n)%len(frames)] }, nil)
			})
		}
	}
	return g.Wait()
}

// pipeline sends count frames on one connection, at most inflight unanswered, and checks every answer. answered, when set,
// is called with the index of each answer as it arrives.
func pipeline(addr string, inflight, count int, next func(i int) []byte, answered func(i int)) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	window := make(chan struct{}, inflight)
	var g errgroup.Group
	g.Go(func() error {
		for i := range count {
			window <- struct{}{}
			f := next(i)
			setCorrelation(f, int32(i))
			if _, err := c.conn.Write(f); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for i := range count {
			id, body, err := c.receive()
			if err == nil && id != int32(i) {
				err = fmt.Errorf("answer %d arrived as number %d", id, i)
			}
			if err == nil {
				err = produceError(body)
			}
			if err != nil {
				c.Close()
				for { // let the sender see the closed connection
					select {
					case <-window:
					default:
						return err
					}
				}
			}
			<-window
			if answered != nil {
				answered(i)
			}
		}
		return nil
	})
	return g.Wait()
}

// acknowledge runs producers that each keep one request of one record in flight for the given time, and returns the number of
// acknowledgements per second and the latencies' quantiles.
func acknowledge(addr, topic string, partitions, producers int, length time.Duration) (float64, latencies, error) {
	batch := newBatch(1)
	var mu sync.Mutex
	var all latencies
	var g errgroup.Group
	start := time.Now()
	for n := range producers {
		g.Go(func() error {
			c, err := dial(addr)
			if err != nil {
				return err
			}
			defer c.Close()
			f := produceFrame(topic, int32(n%partitions), batch)
			var own latencies
			for time.Since(start) < length {
				sent := time.Now()
				if _, err := c.conn.Write(f); err != nil {
					return err
				}
				_, body, err := c.receive()
				if err = errors.Join(err); err != nil {
					return err
				}
				if err := produceError(body); err != nil {
					return err
				}
				own = append(own, time.Since(sent))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
			return nil
		})
	}
	err := g.Wait()
	return float64(len(all)) / time.Since(start).Seconds(), all, err
}

// paced produces at a fixed rate, open loop: a request is due when its time has come, whether the ones before were answered or not, and its
// latency counts from then on (no coordinated omission). Each target has four connections and its partitions' share of the rate.
func paced(targets []target, topic string, bytesPerSecond float64, batch []byte, length time.Duration) (latencies, error) {
	const conns = 4
	var mu sync.Mutex
	var all latencies
	var g errgroup.Group
	start := time.Now().Add(50 * time.Millisecond)
	for k, t := range targets {
		interval := time.Duration(float64(len(batch)) / (bytesPerSecond * share(targets, k)) * conns * float64(time.Second))
		count := int(length / interval)
		for n := range conns {
			offset := time.Duration(n*len(targets)+k) * interval / time.Duration(conns*len(targets))
			g.Go(func() error {
				frames := t.frames(topic, batch)
				due := func(i int) time.Time { return start.Add(time.Duration(i)*interval + offset) }
				own := make(latencies, 0, count)
				err := pipeline(t.addr, 1000, count, func(i int) []byte {
					sleepUntil(due(i))
					return frames[(i+n)%len(frames)]
				}, func(i int) { own = append(own, time.Since(due(i))) })
				mu.Lock()
				all = append(all, own...)
				mu.Unlock()
				return err
			})
		}
	}
	err := g.Wait()
	return all, err
}

// latencies are the measured times of single requests.
type latencies []time.Duration

// quantile returns the q quantile in milliseconds.
func (l latencies) quantile(q float64) float64 {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return float64(l[min(len(l)-1, int(q*float64(len(l))))]) / 1e6
}
