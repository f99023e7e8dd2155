package pgserver

import (
	"context"
	"testing"
	"time"
)

func TestStartStop(t *testing.T) {
	dir := t.TempDir()
	t0 := time.Now()
	s, err := Start(context.Background(), Options{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("first start %v %s", time.Since(t0), s.URL())
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	t0 = time.Now()
	s, err = Start(context.Background(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("second start %v", time.Since(t0))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}
