package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metrics of the server. The per-API ones are resolved once per API, not per request.
type metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	refused     prometheus.Counter
	broken      prometheus.Counter
	panics      prometheus.Counter
	inFlight    prometheus.Gauge
	apis        map[int16]*apiMetrics
}

// apiMetrics are the metrics of one API.
type apiMetrics struct {
	seconds  prometheus.Observer
	inBytes  prometheus.Counter
	outBytes prometheus.Counter
}

// newMetrics registers the metrics of the room; reg may be nil. The connection gauge has the name that dashboards for Kafka read
// (the JMX exporter's for socket-server-metrics).
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		connections: f.NewGauge(prometheus.GaugeOpts{Name: "kafka_server_socket_server_metrics_connection_count",
			Help: "Open client connections."}),
		accepted: f.NewCounter(prometheus.CounterOpts{Name: "varve_server_connections_accepted_total",
			Help: "Connections accepted."}),
		refused: f.NewCounter(prometheus.CounterOpts{Name: "varve_server_connections_refused_total",
			Help: "Connections closed at once because of max.connections."}),
		broken: f.NewCounter(prometheus.CounterOpts{Name: "varve_server_broken_requests_total",
			Help: "Connections closed because of bytes that are no request this broker serves."}),
		panics: f.NewCounter(prometheus.CounterOpts{Name: "varve_server_panics_total",
			Help: "Panics in request handlers; each closed its connection."}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{Name: "varve_server_requests_in_flight",
			Help: "Requests started and not answered yet."}),
		apis: map[int16]*apiMetrics{},
	}
	seconds := f.NewHistogramVec(prometheus.HistogramOpts{Name: "varve_server_request_seconds",
		Help:    "Time from the last byte of a request to the last byte of its answer, waiting included, by API.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14)}, []string{"api"})
	in := f.NewCounterVec(prometheus.CounterOpts{Name: "varve_server_request_bytes_total",
		Help: "Bytes of requests received, by API."}, []string{"api"})
	out := f.NewCounterVec(prometheus.CounterOpts{Name: "varve_server_response_bytes_total",
		Help: "Bytes of answers sent, by API."}, []string{"api"})
	for key := range registry {
		name := kmsg.NameForKey(key)
		m.apis[key] = &apiMetrics{seconds.WithLabelValues(name), in.WithLabelValues(name), out.WithLabelValues(name)}
	}
	return m
}

func (m *apiMetrics) done(started time.Time, out int) {
	m.seconds.Observe(time.Since(started).Seconds())
	m.outBytes.Add(float64(out))
}
