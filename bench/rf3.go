package main

import "time"

// A clusterRun is one measured life of one cluster.
type clusterRun struct {
	*cluster
	name   string // of the system
	size   int64  // bytes that a saturating run moves
	length time.Duration
	opt    clusterOptions
}

const rf3Partitions = 8

// replicated makes the topic of a run, and returns who leads what.
func (r *clusterRun) replicated() ([]target, error) {
	if err := r.createReplicated("bench", rf3Partitions, nil); err != nil {
		return nil, err
	}
	return r.led("bench")
}

func rf3Produce(r *clusterRun) (figures, error) {
	targets, err := r.replicated()
	if err != nil {
		return nil, err
	}
	batch := newBatch(bigBatch)
	if err := saturate(targets, "bench", 4, 5, batch, r.size); err != nil { // warms up
		return nil, err
	}
	s := begin(r.pids()...)
	if err := saturate(targets, "bench", 4, 5, batch, r.size); err != nil {
		return nil, err
	}
	wall, cpu := s.end()
	mb := float64(r.size) / 1e6
	return figures{"MB/s": mb / wall, "MB per CPU-s of all brokers": mb / cpu}, nil
}

func rf3Paced(r *clusterRun) (figures, error) {
	targets, err := r.replicated()
	if err != nil {
		return nil, err
	}
	batch := newBatch(smallBatch)
	if _, err := paced(targets, "bench", 10e6, batch, r.length); err != nil {
		return nil, err
	}
	l, err := paced(targets, "bench", 10e6, batch, r.length)
	return figures{"p50 ms": l.quantile(.5), "p99 ms": l.quantile(.99), "p99.9 ms": l.quantile(.999)}, err
}
