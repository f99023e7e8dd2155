package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// A measure is one row group of the results: run measures one freshly started broker once, three a cluster of three, and returns
// figures by name. One of them is set.
type measure struct {
	name    string
	systems []string // the first is the one under test
	about   string
	run     func(r *run) (figures, error)
	three   func(r *clusterRun) (figures, error)
}

// figures are the results of one run: unit in the name.
type figures map[string]float64

// A run is one measured life of one broker.
type run struct {
	*broker
	dir    string
	system system
	size   int64 // bytes that a saturating run moves
	length time.Duration
}

const (
	bigBatch   = 255 // records of 1 KiB: a batch of about 256 KiB
	smallBatch = 16
)

// single are the measures of one broker.
func single() []measure {
	local := []string{"varve", "kafka", "kafka-syncing"}
	return []measure{
		{"produce-8", local, "acks=all, 8 partitions, 1 KiB records in batches of 256 KiB, 4 connections, 5 in flight", produceOver(8), nil},
		{"produce-1", local, "the same, 1 partition", produceOver(1), nil},
		{"tail", []string{"varve", "kafka"}, "one producer (acks=all, 1 partition), four consumers at the tail: bytes out", tailFanOut, nil},
		{"catch-up", []string{"varve", "kafka"}, "reading 8 partitions from the page cache, one consumer", catchUp, nil},
		{"acks", local, "64 producers with one 1 KiB record each in flight, 64 partitions", acks, nil},
		{"paced", local, "10 MB/s in batches of 16 KiB over 8 partitions, open loop", latency, nil},
		{"idle", []string{"varve", "kafka"}, "no topics; RSS 10 s after the start; exec to ready", idle, nil},
		{"start", []string{"varve", "kafka"}, "from exec to the first record acknowledged with acks=all: in an empty directory (Varve: with initdb), and again in the same one", start, nil},
		{"many-idle", []string{"varve"}, "20,000 partitions that nobody uses, in 20 topics; RSS, CPU and open descriptors", manyIdle, nil},
		{"restart", []string{"varve", "kafka"}, "kill -9 with a record in each partition, then from exec (Varve: of Postgres, too) to the first record acknowledged", restart, nil},
		{"cold", []string{"varve-minio", "kafka-tiered"}, "replaying one partition from the bucket (Varve: MinIO on this machine; Kafka: LocalTieredStorage, plain local files)", cold, nil},
	}
}

func produceOver(partitions int) func(r *run) (figures, error) {
	return func(r *run) (figures, error) {
		topic := "bench"
		if err := createTopic(r.addr, topic, partitions, r.system.topic); err != nil {
			return nil, err
		}
		batch := newBatch(bigBatch)
		if err := saturate(alone(r.addr, partitions), topic, 4, 5, batch, r.size); err != nil { // a JVM needs about 2 GB to warm up
			return nil, err
		}
		s := begin(r.pid)
		if err := saturate(alone(r.addr, partitions), topic, 4, 5, batch, r.size); err != nil {
			return nil, err
		}
		wall, cpu := s.end()
		mb := float64(r.size) / 1e6
		return figures{"MB/s": mb / wall, "MB per broker CPU-s": mb / cpu}, nil
	}
}

func tailFanOut(r *run) (figures, error) {
	if err := createTopic(r.addr, "bench", 1, r.system.topic); err != nil {
		return nil, err
	}
	batch := newBatch(bigBatch)
	if err := saturate(alone(r.addr, 1), "bench", 1, 5, batch, r.size/8); err != nil {
		return nil, err
	}
	c, err := dial(r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start, err := c.offsets("bench", 1, -1)
	if err != nil {
		return nil, err
	}
	total := r.size / 2
	end := []int64{start[0] + total/int64(len(batch))*bigBatch}
	var g errgroup.Group
	s := begin(r.pid)
	for range 4 {
		f, err := newFetcher(r.addr, "bench", append([]int64(nil), start...))
		if err != nil {
			return nil, err
		}
		defer f.c.Close()
		g.Go(func() error { return f.readTo(end) })
	}
	g.Go(func() error { return saturate(alone(r.addr, 1), "bench", 1, 5, batch, total) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	wall, cpu := s.end()
	out := 4 * float64(total) / 1e6
	return figures{"MB/s out": out / wall, "MB out per broker CPU-s": out / cpu}, nil
}

func catchUp(r *run) (figures, error) {
	const partitions = 8
	if err := createTopic(r.addr, "bench", partitions, r.system.topic); err != nil {
		return nil, err
	}
	if err := saturate(alone(r.addr, partitions), "bench", 4, 5, newBatch(bigBatch), r.size); err != nil {
		return nil, err
	}
	return r.replay("bench", partitions)
}

// replay reads the topic from its first offset to its end, twice: the first pass warms.
func (r *run) replay(topic string, partitions int) (figures, error) {
	c, err := dial(r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	end, err := c.offsets(topic, partitions, -1)
	if err != nil {
		return nil, err
	}
	f, err := newFetcher(r.addr, topic, make([]int64, partitions))
	if err != nil {
		return nil, err
	}
	defer f.c.Close()
	s := begin(r.pid)
	if err := f.readTo(end); err != nil {
		return nil, err
	}
	wall, cpu := s.end()
	mb := float64(f.bytes) / 1e6
	return figures{"MB/s": mb / wall, "MB per broker CPU-s": mb / cpu}, nil
}

func acks(r *run) (figures, error) {
	if err := createTopic(r.addr, "bench", 64, r.system.topic); err != nil {
		return nil, err
	}
	if _, _, err := acknowledge(r.addr, "bench", 64, 64, r.length/4); err != nil {
		return nil, err
	}
	rate, l, err := acknowledge(r.addr, "bench", 64, 64, r.length)
	return figures{"acks/s": rate, "p50 ms": l.quantile(.5), "p99 ms": l.quantile(.99)}, err
}

func latency(r *run) (figures, error) {
	if err := createTopic(r.addr, "bench", 8, r.system.topic); err != nil {
		return nil, err
	}
	batch := newBatch(smallBatch)
	if _, err := paced(alone(r.addr, 8), "bench", 10e6, batch, r.length/2); err != nil {
		return nil, err
	}
	l, err := paced(alone(r.addr, 8), "bench", 10e6, batch, r.length)
	return figures{"p50 ms": l.quantile(.5), "p99 ms": l.quantile(.99), "p99.9 ms": l.quantile(.999)}, err
}

func idle(r *run) (figures, error) {
	time.Sleep(r.length)
	s := begin(r.pid)
	time.Sleep(r.length)
	wall, cpu := s.end()
	return figures{"RSS MB": rssMB(r.pid), "CPU %": 100 * cpu / wall, "ready s": r.ready.Seconds()}, nil
}

// cold fills one partition, waits until the tier holds all but the active segment and the local copies are gone, and replays.
func cold(r *run) (figures, error) {
	configs := map[string]*string{
		"remote.storage.enable": text("true"), "local.retention.ms": text("1"), "local.retention.bytes": text("1"),
		"retention.ms": text("-1"), "segment.bytes": text(fmt.Sprint(128 << 20)),
	}
	if err := createTopic(r.addr, "bench", 1, configs); err != nil {
		return nil, err
	}
	if err := saturate(alone(r.addr, 1), "bench", 2, 2, newBatch(bigBatch), r.size); err != nil {
		return nil, err
	}
	c, err := dial(r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		end, err := c.offsets("bench", 1, -1)
		if err != nil {
			return nil, err
		}
		local, err := c.offsets("bench", 1, -4)
		if err != nil {
			return nil, err
		}
		if end[0]-local[0] <= (128<<20)/recordSize {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the local copies [%d, %d) are still there after five minutes", local[0], end[0])
		}
		time.Sleep(time.Second)
	}
	return r.replay("bench", 1)
}

// tempDir makes a directory for one run beside the others.
func tempDir(base, name string) (string, error) { return os.MkdirTemp(base, name+"-") }
