package postgres_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

func newSegment(tp metadata.TopicPartition, base, end int64) metadata.RemoteSegment {
	return metadata.RemoteSegment{ID: uuid.New(), TopicPartition: tp, BaseOffset: base, EndOffset: end, Uploader: 1,
		MaxTimestamp: 1_700_000_000_000 + end, LogBytes: 100, IdxBytes: 10, LogCRC32C: 0xfffffffe, HasTxnIndex: true}
}

// upload makes a live segment.
func upload(t *testing.T, s *postgres.Store, tp metadata.TopicPartition, base, end int64) metadata.RemoteSegment {
	t.Helper()
	seg := newSegment(tp, base, end)
	if err := s.AddIntent(t.Context(), seg); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitSegment(t.Context(), seg); err != nil {
		t.Fatal(err)
	}
	return seg
}

// led returns a partition that broker 1 leads in epoch 0.
func led(t *testing.T, s *postgres.Store) (metadata.TopicPartition, *broker) {
	t.Helper()
	b := newBroker(1).join(t, s)
	return metadata.TopicPartition{TopicID: topic(t, s, "flights", []metadata.BrokerID{1})}, b
}

func TestSegmentLife(t *testing.T) {
	s := open(t)
	tp, _ := led(t, s)
	first, second := upload(t, s, tp, 0, 10), upload(t, s, tp, 10, 25)
	if err := s.CommitSegment(t.Context(), first); err != nil {
		t.Errorf("the same commit again: %v", err)
	}
	live, err := s.LiveSegments(t.Context(), tp, 0, 10)
	if err != nil || len(live) != 2 {
		t.Fatal(live, err)
	}
	want := first
	want.State = metadata.SegmentLive
	want.CreatedAt, want.ChangedAt = live[0].CreatedAt, live[0].ChangedAt
	if live[0] != want || live[0].CreatedAt.IsZero() {
		t.Errorf("got  %+v\nwant %+v", live[0], want)
	}
	if after, err := s.LiveSegments(t.Context(), tp, 10, 10); err != nil || len(after) != 1 || after[0].ID != second.ID {
		t.Error("offset 10 is in the second", after, err)
	}
	totals, err := s.SegmentTotals(t.Context())
	if err != nil || len(totals) != 1 || totals[0] != (postgres.SegmentTotal{TopicPartition: tp, Segments: 2, Bytes: 220, EndOffset: 25}) {
		t.Error(totals, err)
	}

	// What is still readable is not doomed, and the log start stays with it.
	err = s.DoomSegments(t.Context(), tp, 1, 0, 9, []uuid.UUID{first.ID}, "retention")
	wantKafka(t, err, kerr.InvalidRequest)
	if im := snapshot(t, s); im.Partition(tp).LogStartOffset != 0 {
		t.Error(im.Partition(tp))
	}
	if err := s.DoomSegments(t.Context(), tp, 1, 0, 10, []uuid.UUID{first.ID}, "retention"); err != nil {
		t.Fatal(err)
	}
	if im := snapshot(t, s); im.Partition(tp).LogStartOffset != 10 {
		t.Error(im.Partition(tp))
	}
	if none, err := s.SegmentsToDelete(t.Context(), time.Hour, time.Hour, 10); err != nil || len(none) != 0 {
		t.Error("within the grace period", none, err)
	}
	claimed, err := s.SegmentsToDelete(t.Context(), 0, time.Hour, 10)
	if err != nil || len(claimed) != 1 || claimed[0].ID != first.ID || claimed[0].Reason != "retention" || claimed[0].State != metadata.SegmentDoomed {
		t.Fatal(claimed, err)
	}
	if twice, err := s.SegmentsToDelete(t.Context(), 0, time.Hour, 10); err != nil || len(twice) != 0 {
		t.Error("claimed already", twice, err)
	}
	if err := s.MarkGone(t.Context(), []uuid.UUID{first.ID, second.ID}); err != nil {
		t.Fatal(err)
	}
	if live, err := s.LiveSegments(t.Context(), tp, 0, 10); err != nil || len(live) != 1 {
		t.Error("only doomed rows go", live, err)
	}
	if n, err := s.PruneLedger(t.Context(), time.Hour); n != 0 || err != nil {
		t.Error("the ledger keeps", n, err)
	}
	if n, err := s.PruneLedger(t.Context(), -time.Second); n != 1 || err != nil {
		t.Error("the ledger forgets", n, err)
	}
}

// Two live objects never cover one offset: it is the database that refuses, even when two try at the same moment.
func TestOverlapIsRefused(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	tp, _ := led(t, s)
	var segs []metadata.RemoteSegment
	for i := range int64(6) {
		seg := newSegment(tp, i, 10+i)
		if err := s.AddIntent(t.Context(), seg); err != nil {
			t.Fatal(err)
		}
		segs = append(segs, seg)
	}
	errs := make([]error, len(segs))
	var wg sync.WaitGroup
	for i := range segs {
		wg.Go(func() { errs[i] = s.CommitSegment(t.Context(), segs[i]) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		var overlap *postgres.OverlapError
		switch {
		case err == nil:
			won++
		case !errors.As(err, &overlap):
			t.Error(err)
		default:
			wantKafka(t, err, kerr.KafkaStorageError)
		}
	}
	if won != 1 {
		t.Errorf("%d of overlapping segments are live", won)
	}
	_, err := connect(t, url).Exec(t.Context(), `UPDATE remote_segment SET state = 1`)
	if err == nil {
		t.Error("the database lets an overlap in")
	}
	upload(t, s, metadata.TopicPartition{TopicID: topic(t, s, "other", []metadata.BrokerID{1})}, 0, 10) // other partitions are free
}

// Every write of a leader is fenced: after a change of leadership the old leader changes nothing.
func TestLeaderFence(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	tp, _ := led(t, s)
	pending := newSegment(tp, 10, 20)
	if err := s.AddIntent(t.Context(), pending); err != nil {
		t.Fatal(err)
	}
	live := upload(t, s, tp, 0, 10)
	for name, sql := range map[string]string{
		"epoch":  `UPDATE partition SET leader = 1, leader_epoch = 1`,
		"leader": `UPDATE partition SET leader = -1, leader_epoch = 0`,
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, connect(t, url), sql)
			wantKafka(t, s.AddIntent(t.Context(), newSegment(tp, 30, 40)), kerr.FencedLeaderEpoch)
			wantKafka(t, s.CommitSegment(t.Context(), pending), kerr.FencedLeaderEpoch)
			wantKafka(t, s.DoomSegments(t.Context(), tp, 1, 0, 10, []uuid.UUID{live.ID}, "zombie"), kerr.FencedLeaderEpoch)
			_, err := s.RaiseLogStart(t.Context(), tp, 1, 0, 10)
			wantKafka(t, err, kerr.FencedLeaderEpoch)
			wantKafka(t, s.SetRecovered(t.Context(), tp, 1, 0), kerr.FencedLeaderEpoch)
			segs, err := s.LiveSegments(t.Context(), tp, 0, 10)
			if err != nil || len(segs) != 1 || segs[0].ID != live.ID || snapshot(t, s).Partition(tp).LogStartOffset != 0 {
				t.Error("something changed", segs, err)
			}
		})
	}
}

// A commit that has passed the fence holds it: the leader cannot change before it is done.
func TestCommitHoldsTheFence(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	tp, _ := led(t, s)
	other := connect(t, url)
	exec(t, other, `BEGIN`)
	exec(t, other, `UPDATE partition SET leader_epoch = 7`)
	seg := newSegment(tp, 0, 10)
	errc := make(chan error, 1)
	go func() { errc <- s.AddIntent(t.Context(), seg) }()
	awaitWaiting(t, url, 1)
	exec(t, other, `COMMIT`)
	wantKafka(t, <-errc, kerr.FencedLeaderEpoch)
}

// An upload that took too long is given up: its objects may be deleted, so it can no longer become live.
func TestAbandonedIntent(t *testing.T) {
	s := open(t)
	tp, _ := led(t, s)
	slow := newSegment(tp, 0, 10)
	if err := s.AddIntent(t.Context(), slow); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.SegmentsToDelete(t.Context(), time.Hour, 0, 10)
	if err != nil || len(claimed) != 1 || claimed[0].Reason == "" {
		t.Fatal(claimed, err)
	}
	wantKafka(t, s.CommitSegment(t.Context(), slow), kerr.KafkaStorageError)
	wantKafka(t, s.CommitSegment(t.Context(), newSegment(tp, 0, 10)), kerr.KafkaStorageError) // never announced
}

// Deleters share the work: none gets what another has.
func TestClaimsAreDisjoint(t *testing.T) {
	s := open(t)
	tp, _ := led(t, s)
	const n = 40
	for i := range int64(n) {
		if err := s.AddIntent(t.Context(), newSegment(tp, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var got []uuid.UUID
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				segs, err := s.SegmentsToDelete(t.Context(), 0, 0, 7)
				if err != nil {
					t.Error(err)
				}
				if len(segs) == 0 {
					return
				}
				mu.Lock()
				for _, seg := range segs {
					if slices.Contains(got, seg.ID) {
						t.Error("twice", seg.ID)
					}
					got = append(got, seg.ID)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(got) != n {
		t.Errorf("%d of %d claimed", len(got), n)
	}
}

func TestRaiseLogStartNeverFalls(t *testing.T) {
	s := open(t)
	tp, _ := led(t, s)
	for _, c := range []struct{ ask, want int64 }{{10, 10}, {5, 10}, {10, 10}, {11, 11}} {
		got, err := s.RaiseLogStart(t.Context(), tp, 1, 0, c.ask)
		if err != nil || got != c.want {
			t.Errorf("raise to %d: %d %v", c.ask, got, err)
		}
	}
}

func TestProducerIDBlocksAreDisjoint(t *testing.T) {
	s := open(t)
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			first, size, err := s.ProducerIDBlock(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || size != 1000 || first%size != 0 || seen[first] {
				t.Error(first, size, err)
			}
			seen[first] = true
		})
	}
	wg.Wait()
}
