package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

type options struct {
	varve, kafka string
	measures     string
	systems      string
	pairs        int
	sizeMB       int64
	length       time.Duration
	dir          string
	out          string
	pretouchMB   int64
	clusterOptions
}

// clusterOptions are those of the measures with three brokers.
type clusterOptions struct {
	failoverPartitions, failoverKafka int
	probeInterval                     time.Duration
	rejoinMB                          string
	pgPartitions                      int
	electPartitions, electKafka       int
}

func (o *clusterOptions) flags() {
	flag.IntVar(&o.failoverPartitions, "failover-partitions", 1000, "partitions of Varve's in failover, cleanstop and sigstop")
	flag.IntVar(&o.failoverKafka, "failover-kafka-partitions", 300, "the same of Kafka's")
	flag.DurationVar(&o.probeInterval, "probe-interval", 50*time.Millisecond, "how often a partition is probed there")
	flag.StringVar(&o.rejoinMB, "rejoin", "1024", "comma-separated MB in the bucket when a broker rejoins, growing")
	flag.IntVar(&o.pgPartitions, "pgload-partitions", 10_000, "partitions of pgload")
	flag.IntVar(&o.electPartitions, "elect-partitions", 10_000, "partitions of Varve's in elect-10k")
	flag.IntVar(&o.electKafka, "elect-kafka-partitions", 1000, "the same of Kafka's")
}

func main() {
	var o options
	flag.StringVar(&o.varve, "varve", "bin/varve", "the varve binary")
	flag.StringVar(&o.kafka, "kafka", "testdata/kafka/kafka.sh", "the script that runs the reference Kafka")
	flag.StringVar(&o.measures, "measures", "", "comma-separated measures (default: all)")
	flag.StringVar(&o.systems, "systems", "", "comma-separated systems (default: all of the measure)")
	flag.IntVar(&o.pairs, "pairs", 5, "runs of each system, alternating")
	flag.Int64Var(&o.sizeMB, "size", 2048, "MB that a saturating run moves")
	flag.DurationVar(&o.length, "length", 10*time.Second, "length of a timed run")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where data directories are made; a real disk, not tmpfs")
	flag.StringVar(&o.out, "out", "", "also write the results as Markdown to this file")
	flag.Int64Var(&o.pretouchMB, "pretouch", 6144, "MB of page cache made real before each run")
	o.clusterOptions.flags()
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run() error {
	base, err := tempDir(o.dir, "varve-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	var results []result
	for _, m := range append(single(), clustered()...) {
		if o.measures != "" && !slices.Contains(strings.Split(o.measures, ","), m.name) {
			continue
		}
		if m.systems = o.chosen(m.systems); len(m.systems) == 0 {
			continue
		}
		r := result{measure: m, bySystem: map[string][]figures{}}
		for pair := range o.pairs {
			for _, name := range m.systems {
				f, err := o.once(base, m, name)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", m.name, name, err)
				}
				r.bySystem[name] = append(r.bySystem[name], f)
				fmt.Printf("%s %d/%d %s %v\n", m.name, pair+1, o.pairs, name, f)
			}
		}
		results = append(results, r)
		fmt.Print(r.table())
		if o.out != "" { // after each measure: the whole takes long
			if err := os.WriteFile(o.out, []byte(report(o, results)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// chosen are those of a measure's systems that were asked for.
func (o options) chosen(systems []string) []string {
	if o.systems == "" {
		return systems
	}
	return slices.DeleteFunc(slices.Clone(systems), func(s string) bool { return !slices.Contains(strings.Split(o.systems, ","), s) })
}

// once measures one freshly started broker, or cluster, in a directory of its own.
func (o options) once(base string, m measure, name string) (figures, error) {
	dir, err := tempDir(base, name)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := pretouch(dir, o.pretouchMB*1e6); err != nil {
		return nil, err
	}
	if m.three != nil {
		return o.onceCluster(dir, m, name)
	}
	sys, ok := systems(o.varve, o.kafka)[name]
	if !ok {
		return nil, fmt.Errorf("unknown system %q", name)
	}
	b, err := sys.start(dir)
	if err != nil {
		return nil, err
	}
	r := &run{broker: b, dir: dir, system: sys, size: o.sizeMB * 1e6, length: o.length}
	f, err := m.run(r)
	if r.broker == nil { // it was stopped and did not come back
		return f, err
	}
	if stopErr := r.stop(); err == nil && stopErr != nil {
		err = fmt.Errorf("stopping: %w", stopErr)
	}
	return f, err
}

func (o options) onceCluster(dir string, m measure, name string) (figures, error) {
	start, ok := clusterSystems(o.varve, o.kafka)[name]
	if !ok {
		return nil, fmt.Errorf("unknown system %q", name)
	}
	c, err := start(dir)
	if err != nil {
		return nil, err
	}
	f, err := m.three(&clusterRun{cluster: c, name: name, size: o.sizeMB * 1e6, length: o.length, opt: o.clusterOptions})
	return f, errors.Join(err, c.end())
}
