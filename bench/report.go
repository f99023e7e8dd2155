package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A result is what the runs of one measure gave.
type result struct {
	measure  measure
	bySystem map[string][]figures
}

// table prints median (lowest–highest) of each figure, a row a system.
func (r result) table() string {
	first := r.bySystem[r.measure.systems[0]]
	names := make([]string, 0, len(first[0]))
	for name := range first[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | %s |\n|---|%s\n", r.measure.name, strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, sys := range r.measure.systems {
		fmt.Fprintf(&b, "| %s |", sys)
		for _, name := range names {
			var v []float64
			for _, f := range r.bySystem[sys] {
				if x, ok := f[name]; ok {
					v = append(v, x)
				}
			}
			if len(v) == 0 { // what only another system says
				b.WriteString(" – |")
				continue
			}
			slices.Sort(v)
			fmt.Fprintf(&b, " **%s** (%s–%s) |", number(v[len(v)/2]), number(v[0]), number(v[len(v)-1]))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func report(o options, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `make bench` on %s: median (lowest–highest) of %d runs, the systems alternating, each run on a fresh broker or cluster\n"+
		"in an empty directory after %d MB of page cache were pre-touched. Saturating runs move %d MB after as many to warm up, timed runs last %s.\n"+
		"%d CPUs; client and broker share them. Kafka %s, heap 1 GiB; \"kafka-syncing\" has flush.messages=1, which is what Varve does by\ndefault. MB are 10^6 bytes.\n",
		time.Now().Format("2006-01-02"), o.pairs, o.pretouchMB, o.sizeMB, o.length, runtime.NumCPU(), kafkaVersion(o.kafka))
	for _, r := range results {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n%s", r.measure.name, r.measure.about, r.table())
	}
	b.WriteString(notes)
	return b.String()
}

// notes are the profiles that were taken and what was changed because of them, written by hand.
//
//go:embed notes.md
var notes string

func kafkaVersion(script string) string {
	out, err := exec.Command(script, "version").Output()
	if err != nil {
		return os.Getenv("KAFKA_VERSION")
	}
	return strings.TrimSpace(string(out))
}
