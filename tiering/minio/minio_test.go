package minio

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
	t.Setenv("MINIO_ROOT_USER", s.AccessKey)
	t.Setenv("MINIO_ROOT_PASSWORD", s.SecretKey)
	for _, prefix := range []string{"", "/a/prefix/"} {
		u, err := url.Parse("minio://varve" + prefix + "?secure=false&endpoint=" + s.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("prefix "+prefix, func(t *testing.T) { buckettest.Run(t, b) })
	}
	u, err := url.Parse("minio://absent?secure=false&endpoint=" + s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bucket that does not exist: %v", err)
	}
}
