package main

import (
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
	pairs        int
	sizeMB       int64
	length       time.Duration
	dir          string
	out          string
	pretouchMB   int64
}

func main() {
	var o options
	flag.StringVar(&o.varve, "varve", "bin/varve", "the varve binary")
	flag.StringVar(&o.kafka, "kafka", "testdata/kafka/kafka.sh", "the script that runs the reference Kafka")
	flag.StringVar(&o.measures, "measures", "", "comma-separated measures (default: all)")
	flag.IntVar(&o.pairs, "pairs", 5, "runs of each system, alternating")
	flag.Int64Var(&o.sizeMB, "size", 2048, "MB that a saturating run moves")
	flag.DurationVar(&o.length, "length", 10*time.Second, "length of a timed run")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where data directories are made; a real disk, not tmpfs")
	flag.StringVar(&o.out, "out", "", "also write the results as Markdown to this file")
	flag.Int64Var(&o.pretouchMB, "pretouch", 6144, "MB of page cache made real before each run")
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
	for _, m := range measures() {
		if o.measures != "" && !slices.Contains(strings.Split(o.measures, ","), m.name) {
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

// once measures one freshly started broker in a directory of its own.
func (o options) once(base string, m measure, name string) (figures, error) {
	dir, err := tempDir(base, name)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := pretouch(dir, o.pretouchMB*1e6); err != nil {
		return nil, err
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
