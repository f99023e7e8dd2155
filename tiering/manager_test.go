package tiering_test

import (
	"slices"
	"strings"
	"testing"

	"varve/metadata"
	"varve/tiering"
)

// uploadCalls are the steps of an upload, in the order that lets it break off anywhere.
var uploadCalls = []string{"intent", "put log", "put idx", "stat log", "stat idx", "commit"}

// TestUploadBreaksOffAnywhere: whichever step of an upload fails, before or after its work was done, the segment is live once in the end, and what
// the attempt left in the bucket goes.
func TestUploadBreaksOffAnywhere(t *testing.T) {
	s := startStack(t, nil)
	n := 0
	for i, call := range uploadCalls {
		for _, after := range []bool{false, true} {
			s.produce(1000)
			s.bucket.breakCall(i, after)
			stop := s.background(s.tier.Run)
			n++
			eventually(t, func() bool { return len(s.live()) == n && len(s.objects()) == 2*n })
			stop()
			if calls := s.bucket.calls(); !slices.Equal(calls[:i+1], uploadCalls[:i+1]) {
				t.Fatalf("steps %v, want those of %v", calls, uploadCalls)
			}
			committed := call == "commit" && after // the answer was lost, not the commit
			if calls := s.bucket.calls(); (len(calls) == i+1) != committed {
				t.Errorf("%s broken, after its work: %t: %v", call, after, calls)
			}
			for k, row := range s.live() {
				if row.BaseOffset != int64(10*k) || row.EndOffset != int64(10*k+10) {
					t.Errorf("%s broken, after its work: %t: segment %d is [%d, %d)", call, after, k, row.BaseOffset, row.EndOffset)
				}
				for _, key := range []string{tiering.LogKey(&row), tiering.IdxKey(&row)} {
					if !slices.Contains(s.objects(), key) {
						t.Errorf("%s is live and not in the bucket", key)
					}
				}
			}
		}
	}
}

// TestStoreHoldsOtherBytes: what the store says that it holds is not what was sent: the segment does not become live, and stays local.
func TestStoreHoldsOtherBytes(t *testing.T) {
	s := startStack(t, map[string]string{"local.retention.ms": "1"})
	s.bucket.Bucket = truncating{s.bucket.Bucket}
	s.produce(1000)
	stop := s.background(s.tier.Run)
	eventually(t, func() bool { return len(s.bucket.calls()) > 3*len(uploadCalls) })
	stop()
	if live := s.live(); len(live) > 0 || slices.Contains(s.bucket.calls(), "commit") || s.partition.Offsets().LocalStart != 0 {
		t.Errorf("%d live, local start %d, %v", len(live), s.partition.Offsets().LocalStart, s.bucket.calls())
	}
}

// TestRetentionDeletesFromBothTiers: what is more than retention.bytes goes, first from what is served, then from the bucket, and nothing else goes.
func TestRetentionDeletesFromBothTiers(t *testing.T) {
	s := startStack(t, map[string]string{"retention.bytes": "3000", "local.retention.bytes": "1"})
	for range 10 {
		s.produce(1000)
	}
	s.background(s.tier.Run)
	eventually(t, func() bool { return s.partition.Offsets().LogStart > 0 && len(s.objects()) == 2*len(s.live()) })
	// As in Kafka, what stays is no less than the limit: the last segment.
	eventually(t, func() bool { return s.partition.Offsets().LocalStart == 90 })
	live := s.live()
	if len(live) == 0 || len(live) > 3 || live[0].BaseOffset != s.partition.Offsets().LogStart || live[len(live)-1].EndOffset != 100 {
		t.Errorf("log start %d, live %+v", s.partition.Offsets().LogStart, live)
	}
	for _, key := range s.objects() {
		if !slices.ContainsFunc(live, func(row metadata.RemoteSegment) bool { return strings.Contains(key, row.ID.String()) }) {
			t.Errorf("%s belongs to no live segment", key)
		}
	}
}

// TestNearlyFullDisk: local copies go before local retention says so, the oldest first and as few as needed; what is only local stays.
func TestNearlyFullDisk(t *testing.T) {
	s := startStack(t, map[string]string{"local.retention.ms": "-1", "local.retention.bytes": "-1", "retention.ms": "-1"})
	for range 5 {
		s.produce(1000)
	}
	s.background(s.tier.Run)
	eventually(t, func() bool { return len(s.live()) == 5 })
	if start := s.partition.Offsets().LocalStart; start != 0 {
		t.Fatalf("local start %d with a disk that has room", start)
	}
	two := s.partition.Log().Segments()[0].Bytes + 1
	s.free.Store(1000 - two) // two segments are missing; what the volume reports does not change
	eventually(t, func() bool { return s.partition.Offsets().LocalStart >= 20 })
	eventually(t, func() bool { return s.partition.Offsets().LocalStart == 50 }) // pass after pass, for the volume still says so
	if len(s.live()) != 5 || s.partition.Offsets().LogStart != 0 {
		t.Errorf("%d live, log start %d: relief deleted history", len(s.live()), s.partition.Offsets().LogStart)
	}
}
