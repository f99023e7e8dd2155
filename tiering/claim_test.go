package tiering_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"varve/tiering"
	"varve/tiering/file"
)

func openDirectory(t *testing.T) tiering.Bucket {
	t.Helper()
	b, err := file.Open(t.Context(), &url.URL{Scheme: "file", Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unconditional is a store that does not know if-none-match and overwrites.
type unconditional struct{ tiering.Bucket }

func (b unconditional) Put(ctx context.Context, key string, body io.ReaderAt, o tiering.PutOptions) error {
	o.IfNoneMatch = false
	return b.Bucket.Put(ctx, key, body, o)
}

// TestClaim: the first cluster has the bucket, again and again; another is told whose it is and what to do, on every kind of store.
func TestClaim(t *testing.T) {
	for name, b := range map[string]tiering.Bucket{"conditional": openDirectory(t), "unconditional": unconditional{openDirectory(t)}} {
		t.Run(name, func(t *testing.T) {
			mine, other := uuid.New(), uuid.New()
			for range 2 {
				if err := tiering.Claim(t.Context(), b, mine); err != nil {
					t.Fatal(err)
				}
			}
			err := tiering.Claim(t.Context(), b, other)
			var owner *tiering.OwnerError
			if !errors.As(err, &owner) || owner.Owner != mine.String() || owner.Self != other.String() {
				t.Fatalf("another cluster: %v", err)
			}
			for _, want := range []string{mine.String(), other.String(), "varve-owner", "prefix"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not tell %s", err, want)
				}
			}
			if err := tiering.Claim(t.Context(), b, mine); err != nil {
				t.Errorf("the owner, after another one tried: %v", err)
			}
		})
	}
}

// TestClaimRace: of clusters that start at once, one gets the bucket.
func TestClaimRace(t *testing.T) {
	b := openDirectory(t)
	const clusters = 8
	errs := make([]error, clusters)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = tiering.Claim(t.Context(), b, uuid.New()) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		var owner *tiering.OwnerError
		switch {
		case err == nil:
			won++
		case !errors.As(err, &owner):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d clusters got the bucket", won, clusters)
	}
}
