package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	laneSize    = 20                     // partitions
	stalledWait = 100 * time.Millisecond // for an answer, after which Metadata is asked whether the leader is still the same
	dialWait    = time.Second
)

// A lane is one of the prober's clients: it keeps producing to its partitions over one connection to each broker, one request in flight. A request
// holds all partitions that are due at one leader, so they share its fate: lanes are small, and their partitions have had the same leader from
// the start. A request is given up when one of its partitions is led by another broker, whether an answer came or not.
type lane struct {
	p          *prober
	partitions []int32
	due        []time.Time // of partitions[i]
	conns      map[int32]*client
}

// run probes until ctx ends.
func (l *lane) run(ctx context.Context) error {
	defer func() {
		for _, c := range l.conns {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		leader, due := l.next()
		if len(due) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		if leader < 0 {
			l.again(due)
			continue
		}
		l.ask(ctx, leader, due)
	}
	return nil
}

// next returns the indexes of the due partitions that have the leader of the one that is due longest.
func (l *lane) next() (leader int32, due []int) {
	now := time.Now()
	first := -1
	for i, t := range l.due {
		if !t.After(now) && (first < 0 || t.Before(l.due[first])) {
			first = i
		}
	}
	if first < 0 {
		return -1, nil
	}
	leader = l.p.view.leader(l.partitions[first])
	for i, t := range l.due {
		if !t.After(now) && l.p.view.leader(l.partitions[i]) == leader {
			due = append(due, i)
		}
	}
	return leader, due
}

// again makes partitions due after the retry pause, and asks who leads them.
func (l *lane) again(due []int) {
	at := time.Now().Add(retryPause)
	for _, i := range due {
		l.due[i] = at
	}
	l.p.view.demand()
}

// ask produces to the due partitions at their leader, and takes the answer.
func (l *lane) ask(ctx context.Context, leader int32, due []int) {
	sent := time.Now()
	body, err := l.exchange(ctx, leader, due)
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = probeVersion
	if err == nil {
		err = resp.ReadFrom(body[1:]) // without the empty tags of the header
	}
	if err != nil {
		if c := l.conns[leader]; c != nil {
			c.Close()
			delete(l.conns, leader)
		}
		l.again(due)
		return
	}
	index := make(map[int32]int, len(due))
	for _, i := range due {
		index[l.partitions[i]] = i
	}
	now := time.Now()
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			i, ok := index[p.Partition]
			if !ok {
				continue
			}
			if p.ErrorCode == 0 {
				l.due[i] = sent.Add(l.p.interval)
				l.p.acknowledged(p.Partition, now)
				continue
			}
			l.again([]int{i})
			if p.CurrentLeader.LeaderID >= 0 {
				l.p.view.learn(p.Partition, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
			}
		}
	}
}

var errMoved = errors.New("the leader is another one")

// exchange sends one request and waits for its answer, until ctx ends or a partition is led by another broker.
func (l *lane) exchange(ctx context.Context, leader int32, due []int) ([]byte, error) {
	c := l.conns[leader]
	if c == nil {
		conn, err := net.DialTimeout("tcp", l.p.addrs[leader], dialWait)
		if err != nil {
			return nil, err
		}
		c = newClient(conn)
		l.conns[leader] = c
	}
	partitions := make([]int32, len(due))
	for k, i := range due {
		partitions[k] = l.partitions[i]
	}
	if _, err := c.conn.Write(probeFrame(l.p.topic, partitions, l.p.batch)); err != nil {
		return nil, err
	}
	type answer struct {
		body []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		_, body, err := c.receive()
		answered <- answer{body, err}
	}()
	giveUp := func(why error) ([]byte, error) {
		c.Close()
		<-answered
		return nil, why
	}
	tick := time.NewTicker(retryPause)
	defer tick.Stop()
	sent := time.Now()
	for {
		select {
		case a := <-answered:
			return a.body, a.err
		case <-ctx.Done():
			return giveUp(ctx.Err())
		case <-tick.C:
		}
		if time.Since(sent) < stalledWait {
			continue
		}
		l.p.view.demand()
		for _, p := range partitions {
			if now := l.p.view.leader(p); now != leader && now >= 0 {
				return giveUp(errMoved)
			}
		}
	}
}
