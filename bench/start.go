package main

import "time"

// start measures how long a user waits for the first acknowledged record: in the empty directory in which the broker has just been started, and after a
// clean stop in the same directory. The broker that it leaves is the second one.
func start(r *run) (figures, error) {
	sinceReady := time.Now()
	if err := createTopic(r.addr, "bench", 1, r.system.topic); err != nil {
		return nil, err
	}
	if err := acknowledgeOne(r.addr); err != nil {
		return nil, err
	}
	first := r.ready + time.Since(sinceReady)
	stop := r.stop
	r.broker = nil
	if err := stop(); err != nil {
		return nil, err
	}
	again := time.Now()
	b, err := r.system.start(r.dir)
	if err != nil {
		return nil, err
	}
	r.broker = b
	if err := acknowledgeOne(r.addr); err != nil {
		return nil, err
	}
	return figures{"first s": first.Seconds(), "again s": time.Since(again).Seconds()}, nil
}

// acknowledgeOne produces one record and waits for its acknowledgement. A leader that is not there yet is asked again: who has just been told
// that a broker is ready may be ahead of its partitions.
func acknowledgeOne(addr string) error {
	frame := produceFrame("bench", 0, newBatch(1))
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := pipeline(addr, 1, 1, func(int) []byte { return frame }, nil)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
