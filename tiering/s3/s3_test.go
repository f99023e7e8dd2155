package s3

import (
	"net/url"
	"strings"
	"testing"

	"varve/internal/testminio"
	"varve/tiering"
	"varve/tiering/buckettest"
)

// start runs a server with an empty bucket, whose credentials are in the environment; open opens what is at the URL with the server's endpoint.
func start(t *testing.T) (s *testminio.Server, open func(bucketAndPrefix string) (tiering.Bucket, error)) {
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
	s, open := start(t)
	for _, prefix := range []string{"", "/a/prefix/"} {
		b, err := open("varve" + prefix)
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
	if _, err := open("absent"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bucket that does not exist: %v", err)
	}
}

// TestOutage: the store goes away and comes back.
func TestOutage(t *testing.T) {
	s, open := start(t)
	b, err := open("varve")
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
