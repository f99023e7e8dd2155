package flights

import "testing"

// TestAll: every event is read, in the order of its hour, and has a key.
func TestAll(t *testing.T) {
	n, last := 0, Event{}
	for e, err := range All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Key == "" || e.Time.Truncate(3600e9).Before(last.Time.Truncate(3600e9)) || e.Time.UTC().Year() < 2013 {
			t.Fatalf("event %d: %+v after %+v", n, e, last)
		}
		n, last = n+1, e
	}
	if n != Count {
		t.Errorf("%d events, want %d", n, Count)
	}
}
