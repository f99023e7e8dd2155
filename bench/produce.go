package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// saturate produces total bytes of batches with acks=all over conns connections, each with up to inflight requests on
// their way, round robin over the partitions.
func saturate(addr, topic string, partitions, conns, inflight int, batch []byte, total int64) error {
	perConn := int(total / int64(len(batch)) / int64(conns))
	var g errgroup.Group
	for n := range conns {
		g.Go(func() error {
			frames := make([][]byte, partitions)
			for p := range frames {
				frames[p] = produceFrame(topic, int32(p), batch)
			}
			return pipeline(addr, inflight, perConn, func(i int) []byte { return frames[(i+n)%partitions] }, nil)
		})
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
// latency counts from then on (no coordinated omission).
func paced(addr, topic string, partitions int, bytesPerSecond float64, batch []byte, length time.Duration) (latencies, error) {
	const conns = 4
	interval := time.Duration(float64(len(batch)) / bytesPerSecond * conns * float64(time.Second))
	count := int(length / interval)
	var mu sync.Mutex
	var all latencies
	var g errgroup.Group
	start := time.Now().Add(50 * time.Millisecond)
	for n := range conns {
		g.Go(func() error {
			frames := make([][]byte, partitions)
			for p := range frames {
				frames[p] = produceFrame(topic, int32(p), batch)
			}
			due := func(i int) time.Time {
				return start.Add(time.Duration(i)*interval + time.Duration(n)*interval/conns)
			}
			own := make(latencies, 0, count)
			err := pipeline(addr, 1000, count, func(i int) []byte {
				sleepUntil(due(i))
				return frames[(i+n)%partitions]
			}, func(i int) { own = append(own, time.Since(due(i))) })
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
			return err
		})
	}
	return all, g.Wait()
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
