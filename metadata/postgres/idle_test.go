package postgres_test

import (
	"context"
	"testing"
	"time"

	"varve/internal/testpg"
	"varve/metadata"
)

// transactions counts those that Postgres has committed in the test's database.
func transactions(t *testing.T, url string) int {
	t.Helper()
	conn := connect(t, url)
	defer func() { _ = conn.Close(context.Background()) }()
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An idle cluster leaves Postgres alone: two transactions per broker and second at most.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 22 s")
	}
	t.Parallel()
	const brokers, seconds = 2, 10
	// A connection that does nothing any more reports what it did after 10 s at the latest.
	const reported = 11 * time.Second
	url := testpg.URL(t)
	var members []*member
	for id := range metadata.BrokerID(brokers) {
		members = append(members, startMember(t, url, newBroker(id+1).Registration))
	}
	gone := newBroker(9).join(t, members[0].store)
	topic(t, members[0].store, "flights", ids{1, 2}, ids{9})
	unregister(t, gone, members[0].store) // a partition without a leader is nothing to look at again and again
	for i, m := range members {
		m.eventually(t, "settled", func(im *metadata.Image) bool {
			return ownsShards(im, metadata.BrokerID(i+1)) && im.ByName["flights"] != nil
		})
	}
	<-time.After(reported)
	before := transactions(t, url)
	<-time.After(seconds * time.Second)
	n := transactions(t, url) - before
	t.Logf("%d transactions of %d brokers in %d s: %.2f per broker and second", n, brokers, seconds, float64(n)/brokers/seconds)
	if n > 2*brokers*seconds {
		t.Error("too many")
	}
}
