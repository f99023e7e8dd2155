package commitlog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one Dir.
type metrics struct {
	appended       prometheus.Counter
	failedWrites   prometheus.Counter
	rolls          prometheus.Counter
	syncSeconds    prometheus.Histogram
	syncLogs       prometheus.Histogram
	recoveredBytes prometheus.Counter
	cutBytes       prometheus.Counter
	scrubbed       prometheus.Counter
	damaged        prometheus.Counter
	repaired       prometheus.Counter
}

// newMetrics registers the metrics with reg, which may be nil. Several Dirs of one process differ by the label dir.
func newMetrics(reg prometheus.Registerer, dir string, tails *tailCache, logs func() float64) *metrics {
	labels := prometheus.Labels{"dir": dir}
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}))
	}
	gauge := func(name, help string, f func() float64) {
		register[prometheus.Collector](reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f))
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: buckets}))
	}
	gauge("varve_commitlog_tail_bytes", "Memory that holds the newest bytes of the logs.", func() float64 { return float64(tails.used()) })
	gauge("varve_commitlog_logs", "Open logs.", logs)
	return &metrics{
		appended:       counter("varve_commitlog_appended_bytes_total", "Bytes of batches appended."),
		failedWrites:   counter("varve_commitlog_failed_writes_total", "Appends that the disk refused."),
		rolls:          counter("varve_commitlog_rolls_total", "Segments sealed."),
		syncSeconds:    histogram("varve_commitlog_sync_seconds", "Duration of one group commit.", prometheus.ExponentialBuckets(0.0001, 2, 16)),
		syncLogs:       histogram("varve_commitlog_sync_logs", "Logs made durable by one group commit.", prometheus.ExponentialBuckets(1, 4, 8)),
		recoveredBytes: counter("varve_commitlog_recovered_bytes_total", "Bytes scanned after an unclean shutdown."),
		scrubbed:       counter("varve_commitlog_scrubbed_bytes_total", "Bytes of segments that the scrubber read and found sound."),
		damaged:        counter("varve_commitlog_damaged_segments_total", "Segments found damaged, by a read or by the scrubber."),
		repaired:       counter("varve_commitlog_repaired_segments_total", "Damaged segments replaced by what the bucket has."),
		cutBytes:       counter("varve_commitlog_cut_bytes_total", "Bytes cut off behind the last valid batch after an unclean shutdown."),
	}
}

// register registers c, or returns the one that a Dir of the same path registered before it was closed and opened again.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		if old := (prometheus.AlreadyRegisteredError{}); errors.As(err, &old) {
			if existing, ok := old.ExistingCollector.(C); ok {
				return existing
			}
		}
	}
	return c
}
