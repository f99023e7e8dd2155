package testcluster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Metrics is the text of the broker's /metrics.
func (b *Broker) Metrics(t testing.TB) string {
	t.Helper()
	r, err := http.Get("http://" + b.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Metric is the value of a metric, summed over its labels; 0 when there is none of that name.
func (b *Broker) Metric(t testing.TB, name string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(b.Metrics(t)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}
