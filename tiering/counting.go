package tiering

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counting is a Bucket that counts what is asked of the one behind it.
type counting struct {
	Bucket
	requests, errors, bytes *prometheus.CounterVec
	seconds                 *prometheus.HistogramVec
}

// Counted returns b with metrics of its requests by operation: put, get, stat, list, delete. Bytes of a Get are those that were read. A body that
// breaks off is an error of its Get; ErrExists, which is an answer, and a context that was cancelled are none.
func Counted(b Bucket, reg prometheus.Registerer) Bucket {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "varve_bucket_" + name, Help: help}, []string{"op"})
	}
	c := &counting{Bucket: b, requests: vec("requests_total", "Calls of the object store; a large put is several requests."),
		errors: vec("errors_total", "Calls of the object store that failed, or whose body broke off."), bytes: vec("bytes_total", "Bytes sent to and read from the object store."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "varve_bucket_request_seconds", Help: "Time until the object store answered; of a get, until its first byte.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 15)}, []string{"op"})}
	if reg != nil {
		reg.MustRegister(c.requests, c.errors, c.bytes, c.seconds)
	}
	return c
}

// done counts one call.
func (c *counting) done(op string, started time.Time, err error) {
	c.requests.WithLabelValues(op).Inc()
	c.seconds.WithLabelValues(op).Observe(time.Since(started).Seconds())
	c.failed(op, err)
}

// failed counts err if it is one that an operator should see.
func (c *counting) failed(op string, err error) {
	if err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, context.Canceled) {
		c.errors.WithLabelValues(op).Inc()
	}
}

func (c *counting) Put(ctx context.Context, key string, body io.ReaderAt, o PutOptions) error {
	started := time.Now()
	err := c.Bucket.Put(ctx, key, body, o)
	c.done("put", started, err)
	if err == nil {
		c.bytes.WithLabelValues("put").Add(float64(o.Size))
	}
	return err
}

func (c *counting) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	started := time.Now()
	body, err := c.Bucket.Get(ctx, key, offset, length)
	c.done("get", started, err)
	if err != nil {
		return nil, err
	}
	return &countedBody{body, c}, nil
}

type countedBody struct {
	io.ReadCloser
	c *counting
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes.WithLabelValues("get").Add(float64(n))
	if !errors.Is(err, io.EOF) {
		b.c.failed("get", err)
	}
	return n, err
}

func (c *counting) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	started := time.Now()
	info, err := c.Bucket.Stat(ctx, key)
	c.done("stat", started, err)
	return info, err
}

func (c *counting) List(ctx context.Context, prefix, after string, f func(ObjectInfo) bool) error {
	started := time.Now()
	err := c.Bucket.List(ctx, prefix, after, f)
	c.done("list", started, err)
	return err
}

func (c *counting) Delete(ctx context.Context, keys []string) error {
	started := time.Now()
	err := c.Bucket.Delete(ctx, keys)
	c.done("delete", started, err)
	return err
}
