package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	bytes, messages, failed prometheus.Counter
}

// newMetrics registers the metrics of the room under the names that dashboards for Kafka read; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		bytes: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_brokertopicmetrics_bytesin_total",
			Help: "Bytes of record batches appended for producers."}),
		messages: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_brokertopicmetrics_messagesin_total",
			Help: "Records appended for producers."}),
		failed: f.NewCounter(prometheus.CounterOpts{Name: "kafka_server_brokertopicmetrics_failedproducerequests_total",
			Help: "Batches of producers that were refused or not acknowledged in time."}),
	}
}
