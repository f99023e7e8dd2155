package replica

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	recoveries prometheus.Counter
	lostFrom   *prometheus.GaugeVec
}

// newMetrics registers the metrics of the room; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		recoveries: f.NewCounter(prometheus.CounterOpts{Name: "varve_replica_unclean_recoveries_total",
			Help: "Partitions rebuilt after an unclean election."}),
		lostFrom: f.NewGaugeVec(prometheus.GaugeOpts{Name: "varve_replica_lost_from_offset",
			Help: "First offset that the last unclean recovery of a partition could not bring back."}, []string{"topic", "partition"}),
	}
}
