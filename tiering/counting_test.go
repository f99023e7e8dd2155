package tiering_test

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"varve/tiering"
)

// breaking is a store whose bodies break off after the first half.
type breaking struct{ tiering.Bucket }

var errBroken = errors.New("connection reset")

func (b breaking) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := b.Bucket.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, 2), brokenReader{}), body}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// TestCounted: calls, bytes and failures by operation; what is only an answer is no failure.
func TestCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := tiering.Counted(breaking{openDirectory(t)}, reg)
	data := []byte("four")
	o := tiering.PutOptions{Size: 4, CRC32C: crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), IfNoneMatch: true}
	if err := b.Put(t.Context(), "x", bytes.NewReader(data), o); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "x", bytes.NewReader(data), o); !errors.Is(err, tiering.ErrExists) {
		t.Fatal(err)
	}
	body, err := b.Get(t.Context(), "x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(body); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	body.Close()
	if _, err := b.Stat(t.Context(), "absent"); !errors.Is(err, tiering.ErrNotFound) {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.List(cancelled, "", "", func(tiering.ObjectInfo) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			value := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			got[strings.TrimPrefix(family.GetName(), "varve_bucket_")+" "+m.GetLabel()[0].GetValue()] = value
		}
	}
	want := map[string]float64{
		"bytes_total put": 4, "bytes_total get": 2, "errors_total get": 1, "errors_total stat": 1,
		"requests_total put": 2, "requests_total get": 1, "requests_total stat": 1, "requests_total list": 1, "requests_total delete": 1,
		"request_seconds put": 2, "request_seconds get": 1, "request_seconds stat": 1, "request_seconds list": 1, "request_seconds delete": 1,
	}
	for series, n := range got {
		if n != 0 && want[series] == 0 {
			t.Errorf("%s is %v", series, n)
		}
	}
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s is %v, want %v", series, got[series], n)
		}
	}
}

// TestCountedWithoutRegistry: metrics that nobody collects are no condition.
func TestCountedWithoutRegistry(t *testing.T) {
	if _, err := tiering.Counted(openDirectory(t), nil).Stat(t.Context(), "absent"); !errors.Is(err, tiering.ErrNotFound) {
		t.Error(err)
	}
}
