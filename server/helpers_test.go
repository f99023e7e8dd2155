package server

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// swapHandler replaces the handler of an API for one test.
func swapHandler(t *testing.T, key kmsg.Key, handle func(context.Context, *Server, *request) reply) {
	t.Helper()
	a := registry[int16(key)]
	old := a.handle
	a.handle = handle
	t.Cleanup(func() { a.handle = old })
}

// eventually waits for a condition, up to the deadline of a test.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// named is an ApiVersions request of a client that tells its name.
func named() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "varve", "1.0"
	return req
}

// metric reads a gauge or counter of s.
func metric(t *testing.T, s *Server, name string) float64 {
	t.Helper()
	families, err := s.cfg.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
