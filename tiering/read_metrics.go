package tiering

import "github.com/prometheus/client_golang/prometheus"

type readMetrics struct {
	bytes, fetched, hits, diskHits, misses, errors, corrupt prometheus.Counter
}

func newReadMetrics(reg prometheus.Registerer) *readMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_tier_" + name, Help: help})
	}
	m := &readMetrics{
		bytes:    counter("read_bytes_total", "Bytes of records that were served from the bucket's segments."),
		fetched:  counter("fetch_bytes_total", "Bytes of chunks that were read from the bucket."),
		hits:     counter("cache_hits_total", "Reads that found their chunk in memory."),
		diskHits: counter("disk_cache_hits_total", "Chunks that were read from the disk cache instead of the bucket."),
		misses:   counter("cache_misses_total", "Reads that had to wait for their chunk."),
		errors:   counter("fetch_errors_total", "Reads from the bucket or the manifest that failed."),
		corrupt:  counter("corrupt_chunks_total", "Chunks whose bytes did not have their checksum."),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.fetched, m.hits, m.diskHits, m.misses, m.errors, m.corrupt)
	}
	return m
}
