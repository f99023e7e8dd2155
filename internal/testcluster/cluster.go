package testcluster

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"varve/internal/testminio"
	"varve/internal/testpg"
)

// A Cluster is n real broker processes with a Postgres of their own and one bucket. The broker with node.id i is Broker(i), i from 1.
type Cluster struct {
	Dir      string
	Postgres *testpg.Private

	brokers []*Broker
	listen  []*Proxy // in front of each broker's listener; nil without Proxies
	disks   []*Disk  // of each broker's logs; nil without Disks
	logDirs []string
	meta    []*Proxy // between each broker and Postgres; nil without Proxies
}

// A ClusterOption changes how StartCluster runs its brokers.
type ClusterOption func(*clusterConfig)

type clusterConfig struct {
	all     map[string]string
	own     map[int]map[string]string
	proxies bool
	disks   bool
	env     []string
}

// Set sets a configuration key of every broker.
func Set(name, value string) ClusterOption {
	return func(c *clusterConfig) { c.all[name] = value }
}

// SetBroker sets a configuration key of one broker; it wins over Set.
func SetBroker(id int, name, value string) ClusterOption {
	return func(c *clusterConfig) {
		if c.own[id] == nil {
			c.own[id] = map[string]string{}
		}
		c.own[id][name] = value
	}
}

// Proxies puts a Proxy before each broker's listener, which clients and the other brokers then use, and one between each broker and
// Postgres: see Cluster.Listener and Cluster.Metadata.
func Proxies() ClusterOption {
	return func(c *clusterConfig) { c.proxies = true }
}

// Disks gives each broker's logs a file system of their own whose power can be cut: see Cluster.Disk. Where that is not possible the test is skipped.
func Disks() ClusterOption { return func(c *clusterConfig) { c.disks = true } }

// MinIO keeps the bucket in a MinIO server instead of a directory. The bucket must exist.
func MinIO(s *testminio.Server, bucket string) ClusterOption {
	return func(c *clusterConfig) {
		c.all["varve.bucket.url"] = "s3://" + bucket + "?path-style=true&region=us-east-1&endpoint=" + url.QueryEscape("http://"+s.Endpoint)
		c.env = append(c.env, "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey)
	}
}

// StartCluster runs n brokers with default.replication.factor min(n, 3), min.insync.replicas 2 (1 with fewer than three) and a tier that
// works every half second, all of which options can change, and returns when all serve.
func StartCluster(t testing.TB, dir string, n int, options ...ClusterOption) *Cluster {
	t.Helper()
	cfg := clusterConfig{all: map[string]string{
		"default.replication.factor": strconv.Itoa(min(n, 3)), "min.insync.replicas": strconv.Itoa(max(1, min(n, 3)-1)),
		"varve.bucket.url":                    (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "bucket"))}).String(),
		"remote.log.manager.task.interval.ms": "500", "log.retention.check.interval.ms": "500", "group.initial.rebalance.delay.ms": "0",
	}, own: map[int]map[string]string{}}
	for _, o := range options {
		o(&cfg)
	}
	c := &Cluster{Dir: dir, Postgres: testpg.Server(t)}
	for id := 1; id <= n; id++ {
		c.add(t, id, cfg)
	}
	return c
}

// add starts one more broker.
func (c *Cluster) add(t testing.TB, id int, cfg clusterConfig) {
	t.Helper()
	dir := filepath.Join(c.Dir, fmt.Sprintf("broker-%d", id))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	logDir := filepath.Join(dir, "log")
	if cfg.disks {
		d := NewDisk(t, filepath.Join(dir, "disk"))
		c.disks, logDir = append(c.disks, d), filepath.Join(d.Path, "log")
	}
	c.logDirs = append(c.logDirs, logDir)
	addr := freeAddress(t)
	set := map[string]string{"node.id": strconv.Itoa(id), "listeners": "PLAINTEXT://" + addr, "varve.http.listen": "127.0.0.1:0",
		"log.dirs": logDir, "varve.metadata.url": c.Postgres.URL()}
	if cfg.proxies {
		front := StartProxy(t, addr)
		postgres, err := url.Parse(c.Postgres.URL())
		if err != nil {
			t.Fatal(err)
		}
		back := StartProxy(t, postgres.Host)
		postgres.Host = back.Addr()
		set["advertised.listeners"], set["varve.metadata.url"] = "PLAINTEXT://"+front.Addr(), postgres.String()
		c.listen, c.meta = append(c.listen, front), append(c.meta, back)
	}
	maps.Copy(set, cfg.all)
	maps.Copy(set, cfg.own[id])
	config := filepath.Join(dir, "varve.properties")
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&text, "%s=%s\n", name, set[name])
	}
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.brokers = append(c.brokers, StartBroker(t, dir, config, cfg.env...))
}

// Broker is the broker with that node.id.
func (c *Cluster) Broker(id int) *Broker { return c.brokers[id-1] }

// Brokers are all brokers, in the order of their ids.
func (c *Cluster) Brokers() []*Broker { return c.brokers }

// Listener is the proxy in front of broker id (option Proxies).
func (c *Cluster) Listener(id int) *Proxy { return c.listen[id-1] }

// Metadata is the proxy between broker id and Postgres (option Proxies).
func (c *Cluster) Metadata(id int) *Proxy { return c.meta[id-1] }

// Address is what clients are told to connect to for broker id.
func (c *Cluster) Address(id int) string {
	if c.listen != nil {
		return c.listen[id-1].Addr()
	}
	return c.brokers[id-1].Addr
}

// Bootstrap is the addresses of all brokers, comma-separated.
func (c *Cluster) Bootstrap() string {
	addrs := make([]string, len(c.brokers))
	for i := range c.brokers {
		addrs[i] = c.Address(i + 1)
	}
	return strings.Join(addrs, ",")
}

// LogDir is the log directory of broker id.
func (c *Cluster) LogDir(id int) string { return c.logDirs[id-1] }

// Disk is the disk of that broker, with Disks.
func (c *Cluster) Disk(id int) *Disk { return c.disks[id-1] }

// KillAll ends all running brokers by SIGKILL at once.
func (c *Cluster) KillAll(t testing.TB) {
	t.Helper()
	for _, b := range c.brokers {
		if b.Up() {
			b.signal(t, syscall.SIGKILL)
		}
	}
	for _, b := range c.brokers {
		if b.Up() {
			b.Kill(t)
		}
	}
}

// StartAll starts the brokers that do not run, at the same time.
func (c *Cluster) StartAll(t testing.TB) {
	t.Helper()
	c.atOnce(t, "start", func(b *Broker) error {
		if b.Up() {
			return nil
		}
		return b.TryStart()
	})
}

// StopAll ends the brokers that run, cleanly and at the same time.
func (c *Cluster) StopAll(t testing.TB) {
	t.Helper()
	c.atOnce(t, "stop", func(b *Broker) error {
		if !b.Up() {
			return nil
		}
		if b.paused {
			b.Resume(t)
		}
		err := b.system.stop(b, false)
		b.up = err != nil
		return err
	})
}

func (c *Cluster) atOnce(t testing.TB, what string, do func(*Broker) error) {
	t.Helper()
	errs := make([]chan error, len(c.brokers))
	for i, b := range c.brokers {
		errs[i] = make(chan error, 1)
		go func() { errs[i] <- do(b) }()
	}
	for i, b := range c.brokers {
		if err := <-errs[i]; err != nil {
			t.Errorf("%s the broker in %s: %v\n%s", what, b.Dir, err, tail(b.Log, 30))
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
