package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// pgload measures how many transactions of Postgres the brokers make when nothing changes, and how many more when records are produced.
func pgload(r *clusterRun) (figures, error) {
	targets, err := r.replicated()
	if err != nil {
		return nil, err
	}
	if _, err := r.createMany(r.opt.pgPartitions); err != nil {
		return nil, err
	}
	time.Sleep(max(r.length, 15*time.Second)) // until what the creation took is counted
	window := max(3*r.length, 30*time.Second)
	idle, err := r.transactions(func() error { time.Sleep(window); return nil })
	if err != nil {
		return nil, err
	}
	produced := 0
	busy, err := r.transactions(func() error {
		l, err := paced(targets, "bench", 10e6, newBatch(smallBatch), window)
		produced = len(l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return figures{"idle tx/s": idle / clusterSize, "producing tx/s": busy / clusterSize, "partitions": float64(r.opt.pgPartitions + rf3Partitions),
		"produce requests/s": float64(produced) / window.Seconds()}, nil
}

// transactions are those of the whole Postgres per second while work runs. Postgres counts a transaction up to a second after its end, of an idle
// connection up to ten.
func (c *cluster) transactions(work func() error) (float64, error) {
	before, err := c.transactionCount()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return 0, err
	}
	length := time.Since(start).Seconds()
	after, err := c.transactionCount()
	return (after - before) / length, err
}

// transactionCount asks psql: no package but metadata/postgres speaks SQL.
func (c *cluster) transactionCount() (float64, error) {
	out, err := exec.Command("psql", "-XAtq", "-d", c.pgURL, "-c", "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("psql: %w: %s", err, out)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
