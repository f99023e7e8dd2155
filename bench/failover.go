package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

const (
	probed    = "probe"
	faultWait = 2 * time.Minute  // until every partition is acknowledged again; longer gaps are reported as that long
	sessions  = 12 * time.Second // longer than the session of a broker in both systems
	paused    = 15 * time.Second // of a broker that is stopped by SIGSTOP
)

// A fault hurts a node, and returns how long to go on probing at least.
type fault func(n *node) (time.Duration, error)

// killed ends the node by SIGKILL.
func killed(n *node) (time.Duration, error) { return sessions, n.down(n.kill) }

// stopped ends the node by SIGTERM.
func stopped(n *node) (time.Duration, error) { return 5 * time.Second, n.down(n.stop) }

// suspended stops the node's process by SIGSTOP for a while.
func suspended(n *node) (time.Duration, error) {
	if err := syscall.Kill(n.pid, syscall.SIGSTOP); err != nil {
		return 0, err
	}
	time.Sleep(paused)
	return sessions, syscall.Kill(n.pid, syscall.SIGCONT)
}

// gapsOf measures how long partitions go without an acknowledgement when a broker, the controller or another, is hurt.
func gapsOf(f fault, controller bool) func(r *clusterRun) (figures, error) {
	return func(r *clusterRun) (figures, error) {
		partitions := r.partitions(r.opt.failoverPartitions, r.opt.failoverKafka)
		if err := r.createReplicated(probed, partitions, nil); err != nil {
			return nil, err
		}
		led, err := r.led(probed)
		if err != nil {
			return nil, err
		}
		hurt, err := r.victim(controller)
		if err != nil {
			return nil, err
		}
		p, err := r.startProber(probed, led, hurt, r.opt.probeInterval)
		if err != nil {
			return nil, err
		}
		if err := p.warmUp(2 * r.length); err != nil {
			_ = p.end() // what it says is a consequence
			return nil, err
		}
		p.arm()
		least, err := f(r.nodes[hurt])
		if err != nil {
			_ = p.end()
			return nil, fmt.Errorf("hurting broker %d: %w", hurt+1, err)
		}
		p.settled(least, faultWait)
		return p.figures(led, hurt)
	}
}

// figures ends the probing and sums up by what the hurt broker was to a partition.
func (p *prober) figures(led []target, hurt int) (figures, error) {
	silent := p.silent()
	if err := p.end(); err != nil {
		return nil, err
	}
	var followed, all []int32
	for i, t := range led {
		all = append(all, t.partitions...)
		if i != hurt {
			followed = append(followed, t.partitions...)
		}
	}
	var usual latencies
	for _, i := range all {
		usual = append(usual, p.tracks[i].before/time.Duration(max(1, p.tracks[i].count)))
	}
	of, by := p.gaps(led[hurt].partitions), p.gaps(followed)
	return figures{
		"led ms": of.quantile(.5), "led, worst ms": of.quantile(1), "followed ms": by.quantile(.5), "followed, worst ms": by.quantile(1),
		"before ms": usual.quantile(.5), "partitions": float64(len(all)), "still silent": float64(silent),
	}, nil
}

// partitions is how many a system has in a measure: as many as it takes within reason.
func (r *clusterRun) partitions(varve, kafka int) int {
	if strings.HasPrefix(r.name, "kafka") {
		return kafka
	}
	return varve
}
