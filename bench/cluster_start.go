package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"varve/internal/pgserver"
)

// startVarveCluster runs three times `varve broker` with one Postgres and one file:// bucket. The intervals of the tier are those that the
// measures on one broker have, and that Kafka gets from its script.
func startVarveCluster(binary, dir, durability string) (*cluster, error) {
	pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return nil, err
	}
	c := &cluster{pgURL: pg.URL(), services: pg.Stop, configs: map[string]*string{"remote.storage.enable": text("false")}}
	bucket := filepath.Join(dir, "bucket")
	if err := os.MkdirAll(bucket, 0o755); err != nil {
		return nil, errors.Join(err, c.end())
	}
	ports, err := freePorts(clusterSize)
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	for i, port := range ports {
		n := &node{addr: fmt.Sprint("127.0.0.1:", port), dir: filepath.Join(dir, fmt.Sprint("broker-", i+1))}
		config := filepath.Join(n.dir, "varve.yaml")
		settings := fmt.Sprintf("node.id: %d\nlisteners: PLAINTEXT://%s\nvarve.http.listen: 127.0.0.1:0\nlog.dirs: %q\nvarve.metadata.url: %q\n"+
			"varve.bucket.url: %q\nvarve.durability: %s\nremote.log.manager.task.interval.ms: 1000\nlog.retention.check.interval.ms: 1000\n",
			i+1, n.addr, n.logDir(), pg.URL(), "file://"+bucket, durability)
		if err := errors.Join(os.MkdirAll(n.dir, 0o755), os.WriteFile(config, []byte(settings), 0o600)); err != nil {
			return nil, errors.Join(err, c.end())
		}
		n.start = func() (*broker, error) { return startVarve(binary, n.dir, "broker", "--config", config) }
		c.nodes = append(c.nodes, n)
	}
	if err := c.nodes[0].run(); err != nil { // alone: it makes the schema
		return nil, errors.Join(err, c.end())
	}
	return c.complete(runAll(c.nodes[1:]))
}

// logDir is the log directory of a Varve node.
func (n *node) logDir() string { return filepath.Join(n.dir, "log") }

// startKafkaCluster runs three nodes that are broker and controller at once.
func startKafkaCluster(script, dir string, configs map[string]*string) (*cluster, error) {
	ports, err := freePorts(clusterSize)
	if err != nil {
		return nil, err
	}
	c := &cluster{quorum: true, services: func() error { return nil }, configs: configs}
	var voters []string
	for i := range clusterSize {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[i]+1))
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	if err := os.Setenv("KAFKA_CLUSTER_ID", base64.RawURLEncoding.EncodeToString(id[:])); err != nil {
		return nil, err
	}
	for i := range clusterSize {
		n := &node{addr: fmt.Sprint("127.0.0.1:", ports[i]), dir: filepath.Join(dir, fmt.Sprint("broker-", i+1))}
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return nil, err
		}
		n.start = func() (*broker, error) {
			b, err := startKafka(script, n.dir, "--port", fmt.Sprint(ports[i]), "--node-id", fmt.Sprint(i+1), "--voters", strings.Join(voters, ","))
			if err != nil { // the process may run although it does not answer
				_ = exec.Command(script, "kill", "--dir", n.dir).Run()
			}
			return b, err
		}
		c.nodes = append(c.nodes, n)
	}
	return c.complete(runAll(c.nodes))
}
