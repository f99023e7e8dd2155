package tiering

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"varve/metadata"
)

type metrics struct {
	segments, bytes prometheus.Counter
	seconds         prometheus.Histogram
	errors          *prometheus.CounterVec
	lagBytes        prometheus.Gauge
	lagSegments     prometheus.Gauge
	trims, trimmedB prometheus.Counter
	relieved        prometheus.Counter
	deleted         prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_tier_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_tier_" + name, Help: help})
	}
	m := &metrics{
		segments:    counter("copy_segments_total", "Segments that became live in the bucket."),
		bytes:       counter("copy_bytes_total", "Bytes of segments and bundles that became live in the bucket."),
		seconds:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "varve_tier_copy_seconds", Help: "Time from a segment's intent to its commit.", Buckets: prometheus.ExponentialBuckets(.01, 2, 14)}),
		errors:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "varve_tier_errors_total", Help: "Passes over a partition that failed, by task; each is tried again."}, []string{"task"}),
		lagBytes:    gauge("copy_lag_bytes", "Bytes of sealed segments that are not in the bucket yet."),
		lagSegments: gauge("copy_lag_segments", "Sealed segments that are not in the bucket yet."),
		trims:       counter("local_trimmed_segments_total", "Local segments removed by retention or because the bucket has them."),
		trimmedB:    counter("local_trimmed_bytes_total", "Bytes of local segments removed by retention or because the bucket has them."),
		relieved:    counter("local_relieved_bytes_total", "Bytes of local segments removed because their log directory was nearly full."),
		deleted:     counter("delete_segments_total", "Segments whose objects were deleted from the bucket."),
	}
	if reg != nil {
		reg.MustRegister(m.segments, m.bytes, m.seconds, m.errors, m.lagBytes, m.lagSegments, m.trims, m.trimmedB, m.relieved, m.deleted)
	}
	return m
}

func (m *metrics) uploaded(s metadata.RemoteSegment, took time.Duration) {
	m.segments.Inc()
	m.bytes.Add(float64(s.LogBytes + s.IdxBytes))
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) trimmed(segments int, bytes int64) {
	m.trims.Add(float64(segments))
	m.trimmedB.Add(float64(bytes))
}
