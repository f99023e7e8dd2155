package group

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	groups         *prometheus.GaugeVec
	rebalances     prometheus.Counter
	expired        prometheus.Counter
	expiredOffsets prometheus.Counter
	commits        prometheus.Histogram
	commitBatch    prometheus.Histogram
}

// newMetrics registers the metrics of the room; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		groups: f.NewGaugeVec(prometheus.GaugeOpts{Name: "varve_group_groups",
			Help: "Groups coordinated by this broker, by state."}, []string{"state"}),
		rebalances: f.NewCounter(prometheus.CounterOpts{Name: "varve_group_rebalances_total",
			Help: "Rebalances begun."}),
		expired: f.NewCounter(prometheus.CounterOpts{Name: "varve_group_expired_total",
			Help: "Empty groups deleted because of offsets.retention.minutes."}),
		expiredOffsets: f.NewCounter(prometheus.CounterOpts{Name: "varve_group_expired_offsets_total",
			Help: "Committed offsets deleted because of offsets.retention.minutes, or of their own retention."}),
		commits: f.NewHistogram(prometheus.HistogramOpts{Name: "varve_group_commit_seconds",
			Help: "Time from an accepted offset commit to its answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11)}),
		commitBatch: f.NewHistogram(prometheus.HistogramOpts{Name: "varve_group_commit_batch_offsets",
			Help: "Offsets written by one transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
	}
}

// moved counts a group that went from one state to another; "" stands for not being there.
func (m *metrics) moved(from, to string) {
	if from == to {
		return
	}
	if from != "" {
		m.groups.WithLabelValues(from).Dec()
	}
	if to != "" {
		m.groups.WithLabelValues(to).Inc()
	}
	if to == preparing.String() || to == "Reconciling" {
		m.rebalances.Inc()
	}
}
