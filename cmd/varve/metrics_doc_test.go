package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"varve/internal/config"
	"varve/internal/testpg"
)

var update = flag.Bool("update", false, "write generated files anew")

const metricsDoc = "../../docs/metrics.md"

func TestMain(m *testing.M) { os.Exit(testpg.Main(m).Run()) }

// A recorder is a registry that notes what is registered with it.
type recorder struct {
	*prometheus.Registry

	mu   sync.Mutex
	rows []string
}

var describes = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: "(.*)", unit: "", constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

func (r *recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); c.Describe(descs) }()
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range descs {
		m := describes.FindStringSubmatch(d.String())
		if m == nil {
			return fmt.Errorf("cannot read %s", d)
		}
		r.rows = append(r.rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", m[1], kind(c, m[1]), strings.ReplaceAll(m[3], ",", ", "), strings.ReplaceAll(m[2], `\"`, `"`)))
	}
	return r.Registry.Register(c)
}

func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// kind tells a metric's type from its collector's, or from its name when a collector of ours has several.
func kind(c prometheus.Collector, name string) string {
	switch c.(type) {
	case prometheus.Histogram, *prometheus.HistogramVec:
		return "histogram"
	case prometheus.Gauge, *prometheus.GaugeVec, prometheus.GaugeFunc:
		return "gauge"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

// TestMetricsDoc starts a broker with a tier and keeps docs/metrics.md equal to what it registers.
func TestMetricsDoc(t *testing.T) {
	cfg, err := config.NewBroker(map[string]string{"node.id": "1", "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": t.TempDir(),
		"varve.metadata.url": testpg.URL(t), "varve.bucket.url": "file://" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Registry: prometheus.NewRegistry()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := runBroker(ctx, cfg, slog.New(slog.DiscardHandler), r, nil, func(net.Addr) { stop() }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.rows)
	var b bytes.Buffer
	b.WriteString("# Metrics\n\nGenerated from what a broker registers: `go test ./cmd/varve -run TestMetricsDoc -update`.\n\n")
	b.WriteString("`/metrics` on `varve.http.listen` serves them in Prometheus' format, with those of the Go runtime (`go_*`) and of the process (`process_*`).\n")
	b.WriteString("Names that begin with `kafka_` are those that dashboards for Kafka's JMX exporter read; Varve's own begin with `varve_` and the room.\n\n")
	b.WriteString("| Name | Type | Labels | |\n|---|---|---|---|\n" + strings.Join(r.rows, ""))
	if *update {
		if err := os.WriteFile(metricsDoc, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s does not show what is registered: run go test ./cmd/varve -run TestMetricsDoc -update", metricsDoc)
	}
}
