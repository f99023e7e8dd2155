package replica

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	recoveries prometheus.Counter
	lostFrom   *prometheus.GaugeVec

	isrShrinks, isrExpands prometheus.Counter
	replicationBytesIn     prometheus.Counter
	fetcherFailures        prometheus.Counter
	bootstraps             prometheus.Counter
}

// newMetrics registers the metrics of the room; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		recoveries: f.NewCounter(prometheus.CounterOpts{Name: "varve_replica_unclean_recoveries_total",
			Help: "Partitions rebuilt after an unclean election."}),
		lostFrom: f.NewGaugeVec(prometheus.GaugeOpts{Name: "varve_replica_lost_from_offset",
			Help: "First offset that the last unclean recovery of a partition could not bring back."}, []string{"topic", "partition"}),
		isrShrinks: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_replicamanager_isrshrinks_total",
			Help: "Changes of an in-sync set, made by its leader, that leave a replica outside."}),
		isrExpands: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_replicamanager_isrexpands_total",
			Help: "Changes of an in-sync set, made by its leader, after which all replicas are in sync."}),
		replicationBytesIn: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_brokertopicmetrics_replicationbytesin_total",
			Help: "Bytes of record batches fetched from leaders."}),
		fetcherFailures: f.NewCounter(prometheus.CounterOpts{Name: "varve_replica_fetcher_failures_total",
			Help: "Connections to leaders that failed or broke."}),
		bootstraps: f.NewCounter(prometheus.CounterOpts{Name: "varve_replica_bootstraps_total",
			Help: "Replicas that were begun anew where their leader's local log begins."}),
	}
}
