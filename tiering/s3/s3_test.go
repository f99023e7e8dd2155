package s3

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"varve/internal/testminio"
	"varve/tiering"
	"varve/tiering/buckettest"
)

// start runs a server with an empty bucket, whose credentials are in the environment; openAt opens what is at the URL with the server's endpoint.
func start(t *testing.T) (s *testminio.Server, openAt func(bucketAndPrefix string) (tiering.Bucket, error)) {
	t.Helper()
	s = testminio.Start(t)
	s.Bucket(t, "varve")
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	return s, func(bucketAndPrefix string) (tiering.Bucket, error) {
		u, err := url.Parse("s3://" + bucketAndPrefix + "?endpoint=" + url.QueryEscape("http://"+s.Endpoint))
		if err != nil {
			t.Fatal(err)
		}
		return Open(t.Context(), u)
	}
}

func TestBucket(t *testing.T) {
	s, openAt := start(t)
	for _, prefix := range []string{"", "/a/prefix/"} {
		b, err := openAt("varve" + prefix)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("prefix "+prefix, func(t *testing.T) { buckettest.Run(t, b) })
	}
	for _, key := range []string{"large", "large-damaged"} { // which the suite began to put and which failed
		if n := s.Unfinished(t, "varve", key); n != 0 {
			t.Errorf("%d uploads of %s were not aborted", n, key)
		}
	}
	if _, err := openAt("absent"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bucket that does not exist: %v", err)
	}
}

// TestOutage: the store goes away and comes back.
func TestOutage(t *testing.T) {
	s, openAt := start(t)
	b, err := openAt("varve")
	if err != nil {
		t.Fatal(err)
	}
	buckettest.Outage(t, b, s.Stop, func() { s.Restart(t) })
}

// TestURL: a mistake in a URL is told, not ignored.
func TestURL(t *testing.T) {
	for _, text := range []string{"s3:///prefix", "s3://varve?enpoint=http://x:1"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), "want") && !strings.Contains(err.Error(), "no parameter") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestHungStore: a store that takes requests and never answers is given up.
func TestHungStore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the backlog takes connections
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	u, err := url.Parse("s3://varve?endpoint=" + url.QueryEscape("http://"+l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := open(ctx, u, 100*time.Millisecond); err == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}
