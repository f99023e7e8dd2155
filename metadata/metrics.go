package metadata

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type publisherMetrics struct {
	version   prometheus.Gauge
	outage    prometheus.Gauge
	regressed prometheus.Gauge
	loads     prometheus.Histogram
	fullLoads prometheus.Counter
}

func newPublisherMetrics(reg prometheus.Registerer) publisherMetrics {
	f := promauto.With(reg)
	return publisherMetrics{
		version: f.NewGauge(prometheus.GaugeOpts{
			Name: "varve_metadata_image_version",
			Help: "Version of the metadata image that this broker serves.",
		}),
		outage: f.NewGauge(prometheus.GaugeOpts{
			Name: "varve_metadata_outage",
			Help: "1 while the metadata database cannot be reached.",
		}),
		regressed: f.NewGauge(prometheus.GaugeOpts{
			Name: "varve_metadata_regressed",
			Help: "1 while the metadata database shows an older state than this broker has applied, or another cluster.",
		}),
		loads: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "varve_metadata_snapshot_duration_seconds",
			Help:    "Time to read the metadata, or what has changed of it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
		fullLoads: f.NewCounter(prometheus.CounterOpts{
			Name: "varve_metadata_full_loads_total",
			Help: "Times that all metadata was read, not only what had changed: at the start, and after the connection that hears of changes was lost.",
		}),
	}
}

type nodeMetrics struct {
	controller prometheus.Gauge
	fenced     prometheus.Gauge
	suspects   prometheus.Counter
}

func newNodeMetrics(reg prometheus.Registerer, offlinePartitions func() float64) nodeMetrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kafka_controller_kafkacontroller_offlinepartitionscount",
		Help: "Partitions without a leader, told by the controller; 0 elsewhere.",
	}, offlinePartitions)
	return nodeMetrics{
		controller: f.NewGauge(prometheus.GaugeOpts{
			Name: "kafka_controller_kafkacontroller_activecontrollercount",
			Help: "1 while this broker is the controller: 1 in all of the cluster.",
		}),
		fenced: f.NewGauge(prometheus.GaugeOpts{
			Name: "varve_metadata_fenced",
			Help: "1 while this broker is not an active member of the cluster.",
		}),
		suspects: f.NewCounter(prometheus.CounterOpts{
			Name: "varve_metadata_suspects_fenced_total",
			Help: "Brokers that this broker fenced because they refused connections, before their session ended.",
		}),
	}
}
