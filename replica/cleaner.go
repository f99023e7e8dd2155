package replica

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"varve/commitlog"
)

// A cleaner compacts the logs of topics whose cleanup.policy has compact, one at a time, the one with the greatest share of uncompacted bytes first. It
// pauses for log.cleaner.backoff.ms when none is due. A log that cannot be compacted (a damaged batch, say) is set aside until the broker is started again
// or the partition comes anew: it goes on serving, and the others are compacted all the same.
type cleaner struct {
	m       *Manager
	metrics *cleanerMetrics

	mu       sync.Mutex
	setAside map[*commitlog.Log]error
}

func newCleaner(m *Manager) *cleaner {
	c := &cleaner{m: m, setAside: map[*commitlog.Log]error{}}
	c.metrics = newCleanerMetrics(m.cfg.Registerer, c)
	return c
}

// run compacts until the manager closes.
func (c *cleaner) run() {
	c.metrics.lastRun.SetToCurrentTime()
	for c.m.ctx.Err() == nil {
		if c.cleanDirtiest(time.Now()) {
			continue
		}
		select {
		case <-time.After(max(c.m.cfg.Broker().CleanerBackoff, time.Millisecond)):
		case <-c.m.ctx.Done():
		}
	}
}

// cleanDirtiest compacts the dirtiest of the logs that are due. False: none was, or it came to nothing.
func (c *cleaner) cleanDirtiest(now time.Time) bool {
	c.metrics.lastRun.SetToCurrentTime()
	p, dirty := c.dirtiest(now)
	if p == nil {
		return false
	}
	broker, start := c.m.cfg.Broker(), time.Now()
	l := p.log.Load()
	done, err := l.Clean(dirty, commitlog.CleanOptions{Now: now, MapBytes: broker.CleanerMapBytes, Throttle: c.m.throttle(broker.CleanerBytesPerSecond)})
	c.metrics.count(done, time.Since(start))
	log := c.m.cfg.Logger.With("topic", p.topic, "partition", p.key.Partition)
	switch {
	case err == nil:
		log.Debug("compacted", "from", done.From, "to", done.To, "kept", done.Kept, "removed", done.Removed,
			"bytes_before", done.BytesRead, "bytes_after", done.BytesWritten, "took", time.Since(start))
		return done.To > done.From
	case c.m.ctx.Err() != nil || p.removed.Load():
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		log.Warn("compaction needs space for the compacted segments; it will be tried again", "error", err)
	default:
		log.Error("compaction leaves this partition alone until the broker is started again; it goes on serving", "error", err)
		c.mu.Lock()
		c.setAside[l] = err
		c.mu.Unlock()
		return true // the others have their turn at once
	}
	return false
}

// dirtiest finds the log with the greatest dirty ratio of those that are due; nil: none is.
func (c *cleaner) dirtiest(now time.Time) (best *Partition, dirty commitlog.Dirty) {
	open := map[*commitlog.Log]bool{}
	highest := 0.0
	for _, p := range *c.m.partitions.Load() {
		l := p.log.Load()
		if l == nil {
			continue
		}
		open[l] = true
		if !p.cfg.Load().CleanupCompact || p.failed.Load() != nil || c.isSetAside(l) {
			continue
		}
		d := l.Dirty(p.Offsets().LastStable, now)
		highest = max(highest, d.Ratio)
		if d.Due && (best == nil || d.Ratio > dirty.Ratio) {
			best, dirty = p, d
		}
	}
	c.metrics.maxDirty.Set(100 * highest)
	c.forget(open)
	return best, dirty
}

func (c *cleaner) isSetAside(l *commitlog.Log) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setAside[l] != nil
}

// forget drops the logs that are gone.
func (c *cleaner) forget(open map[*commitlog.Log]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.setAside {
		if !open[l] {
			delete(c.setAside, l)
		}
	}
}

func (c *cleaner) uncleanable() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(len(c.setAside))
}

type cleanerMetrics struct {
	lastRun, maxDirty, longest prometheus.Gauge
	passes, removed            prometheus.Counter
	read, written              prometheus.Counter
	slowest                    time.Duration // of the cleaner's goroutine
}

func newCleanerMetrics(reg prometheus.Registerer, c *cleaner) *cleanerMetrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "kafka_log_logcleanermanager_uncleanable_partitions_count",
		Help: "Partitions that compaction leaves alone because of an error."}, c.uncleanable)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &cleanerMetrics{
		lastRun:  gauge("varve_replica_cleaner_last_run_seconds", "When the cleaner last looked for logs to compact, in seconds since 1970."),
		maxDirty: gauge("kafka_log_logcleanermanager_max_dirty_percent", "Greatest share of uncompacted bytes in a compacted log, in percent."),
		longest:  gauge("kafka_log_logcleaner_max_clean_time_secs", "Longest pass of compaction, in seconds."),
		passes:   counter("varve_replica_cleaner_passes_total", "Passes of compaction."),
		removed:  counter("varve_replica_cleaner_removed_records_total", "Records that compaction removed."),
		read:     counter("varve_replica_cleaner_read_bytes_total", "Bytes of the segments that compaction read to rewrite them."),
		written:  counter("varve_replica_cleaner_written_bytes_total", "Bytes of the segments that compaction wrote."),
	}
}

func (m *cleanerMetrics) count(done commitlog.Cleaned, took time.Duration) {
	m.passes.Inc()
	m.removed.Add(float64(done.Removed))
	m.read.Add(float64(done.BytesRead))
	m.written.Add(float64(done.BytesWritten))
	m.slowest = max(m.slowest, took)
	m.longest.Set(m.slowest.Seconds())
}
