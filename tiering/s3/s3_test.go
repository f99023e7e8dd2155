package s3

import (
	"net/url"
	"strings"
	"testing"

	"varve/internal/testminio"
	"varve/tiering/buckettest"
)

func TestBucket(t *testing.T) {
	s := testminio.Start(t)
	s.Bucket(t, "varve")
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	query := "?path-style=true&region=us-east-1&endpoint=" + url.QueryEscape("http://"+s.Endpoint)
	for _, prefix := range []string{"", "/a/prefix/"} {
		u, err := url.Parse("s3://varve" + prefix + query)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("prefix "+prefix, func(t *testing.T) { buckettest.Run(t, b) })
	}
	u, err := url.Parse("s3://absent" + query)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bucket that does not exist: %v", err)
	}
}
