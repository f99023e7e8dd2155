package replica

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Traffic counts what clients did with one partition since it came here. Safe for concurrent use.
type Traffic struct {
	BytesIn, MessagesIn, BytesOut atomic.Int64
	Produces, FailedProduces      atomic.Int64 // per request and partition, as Kafka counts
	Fetches, FailedFetches        atomic.Int64
}

// Traffic returns the partition's counters.
func (p *Partition) Traffic() *Traffic { return &p.traffic }

// Elsewhere counts requests about partitions that are not here.
func (m *Manager) Elsewhere() *Traffic { return &m.elsewhere }

// counts are the values of a Traffic or the sum of several, in the order of brokerTopicMetrics.
type counts [7]int64

func (c *counts) add(t *Traffic) {
	for i, v := range []*atomic.Int64{&t.BytesIn, &t.MessagesIn, &t.BytesOut, &t.Produces, &t.FailedProduces, &t.Fetches, &t.FailedFetches} {
		c[i] += v.Load()
	}
}

// A collector exports what dashboards for Kafka read of a broker's partitions, under the JMX exporter's names: traffic by topic, and without a topic
// for all; how many partitions there are, led here, or short of replicas. The hot path touches a partition's own counters only.
type collector struct {
	manager *Manager
	traffic [len(counts{})]*prometheus.Desc
	state   [len(partitionCounts{})]*prometheus.Desc
}

func newCollector(m *Manager) *collector {
	c := &collector{manager: m}
	for i, d := range [len(counts{})][2]string{
		{"bytesin", "Bytes of record batches appended for producers."},
		{"messagesin", "Records appended for producers."},
		{"bytesout", "Bytes of record batches sent to consumers."},
		{"totalproducerequests", "Produce requests, counted once for each of their partitions."},
		{"failedproducerequests", "Produce requests that were refused or not acknowledged in time, counted once for each such partition."},
		{"totalfetchrequests", "Fetch requests, counted once for each of their partitions."},
		{"failedfetchrequests", "Fetch requests that were answered with an error, counted once for each such partition."},
	} {
		c.traffic[i] = prometheus.NewDesc("kafka_server_brokertopicmetrics_"+d[0]+"_total", d[1]+" Without a topic: of all.", []string{"topic"}, nil)
	}
	for i, d := range [len(partitionCounts{})][2]string{
		{"kafka_server_replicamanager_partitioncount", "Partitions with a replica here."},
		{"kafka_server_replicamanager_leadercount", "Partitions led here."},
		{"kafka_server_replicamanager_underreplicatedpartitions", "Partitions led here that have fewer in-sync replicas than replicas."},
		{"kafka_server_replicamanager_underminisrpartitioncount", "Partitions led here that have fewer in-sync replicas than min.insync.replicas: acks=all is refused."},
		{"kafka_server_replicamanager_atminisrpartitioncount", "Partitions led here that have exactly min.insync.replicas in-sync replicas."},
		{"kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed."},
	} {
		c.state[i] = prometheus.NewDesc(d[0], d[1], nil, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append(c.traffic[:], c.state[:]...) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	var all counts
	all.add(c.manager.Elsewhere())
	byTopic := map[string]*counts{"": &all}
	var state partitionCounts
	for _, p := range *c.manager.partitions.Load() {
		topic := byTopic[p.topic]
		if topic == nil {
			topic = &counts{}
			byTopic[p.topic] = topic
		}
		topic.add(&p.traffic)
		all.add(&p.traffic)
		state.add(p)
	}
	state[offlineDirs] = max(len(c.manager.cfg.Broker().LogDirs)-len(c.manager.cfg.Dirs), 0) // left out when the broker started
	for _, d := range c.manager.cfg.Dirs {
		if d.Failure() != nil {
			state[offlineDirs]++
		}
	}
	for topic, values := range byTopic {
		for i, v := range values {
			ch <- prometheus.MustNewConstMetric(c.traffic[i], prometheus.CounterValue, float64(v), topic)
		}
	}
	for i, v := range state {
		ch <- prometheus.MustNewConstMetric(c.state[i], prometheus.GaugeValue, float64(v))
	}
}

const (
	partitionCount = iota
	leaderCount
	underReplicated
	underMinISR
	atMinISR
	offlineDirs
)

type partitionCounts [offlineDirs + 1]int

func (c *partitionCounts) add(p *Partition) {
	c[partitionCount]++
	r := p.role.Load()
	if !r.leading {
		return
	}
	c[leaderCount]++
	inSync, replicas := p.ISR()
	if inSync < replicas {
		c[underReplicated]++
	}
	switch need := min(int(p.cfg.Load().MinInsyncReplicas), replicas); {
	case inSync < need:
		c[underMinISR]++
	case inSync == need:
		c[atMinISR]++
	}
}
