package file

import (
	"bytes"
	"net/url"
	"testing"

	"varve/tiering"
	"varve/tiering/buckettest"
)

func open(t *testing.T) tiering.Bucket {
	t.Helper()
	b, err := Open(t.Context(), &url.URL{Scheme: "file", Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBucket(t *testing.T) { buckettest.Run(t, open(t)) }

// TestKeysStayInside: no key leaves the directory.
func TestKeysStayInside(t *testing.T) {
	b := open(t)
	for _, key := range []string{"", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/./b", ".."} {
		if err := b.Put(t.Context(), key, bytes.NewReader(nil), tiering.PutOptions{}); err == nil {
			t.Errorf("%q was accepted", key)
		}
	}
}

// TestURL: only absolute directories on this machine.
func TestURL(t *testing.T) {
	for _, text := range []string{"file://host/dir", "s3://x", "file:dir"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), u); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
