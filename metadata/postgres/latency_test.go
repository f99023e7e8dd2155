package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// manyPartitions creates topics with 10,000 partitions in all, on three brokers, and returns the topics' ids.
func manyPartitions(t *testing.T, s *postgres.Store, topics int) []metadata.TopicID {
	t.Helper()
	for id := range 3 {
		newBroker(metadata.BrokerID(id)).join(t, s)
	}
	assignment := make([][]metadata.BrokerID, 10_000/topics)
	for i := range assignment {
		first := metadata.BrokerID(i % 3)
		assignment[i] = []metadata.BrokerID{first, (first + 1) % 3, (first + 2) % 3}
	}
	ids := make([]metadata.TopicID, topics)
	for i := range ids {
		ids[i] = topic(t, s, fmt.Sprintf("flights-%d", i), assignment...)
	}
	return ids
}

// commitVersion ends a transaction of metadata as the Store does, and returns the version and when COMMIT was sent.
func commitVersion(t *testing.T, conn *pgx.Conn) (version int64, committed time.Time) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `UPDATE meta_version SET v = v + 1 RETURNING v`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `SELECT pg_notify('varve_meta', (SELECT v::text FROM meta_version))`)
	committed = time.Now()
	exec(t, conn, `COMMIT`)
	return version, committed
}

// From the commit of a change among 10,000 partitions to the callbacks. The bounds are many times what a quiet
// machine needs: a publisher that waited for its poll, or a plan that Postgres compiles each time, would not keep the
// first.
func TestChangeToCallbackLatency(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	ids := manyPartitions(t, s, 10)
	p := metadata.NewPublisher(s, nil, nil)
	type arrival struct {
		version int64
		at      time.Time
	}
	arrivals := make(chan arrival, 1000)
	p.OnImage(func(im *metadata.Image) { arrivals <- arrival{im.Version, time.Now()} })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.Run(ctx) })
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	for _, c := range []struct {
		name  string
		where string
		args  []any
		limit time.Duration
	}{
		{"1 partition", `topic_id = $1 AND partition = 7`, []any{ids[3]}, 30 * time.Millisecond},
		{"3333 partitions", `partition % 3 = 0 AND (topic_id, partition) <> ($1, 0)`, []any{ids[0]}, time.Second},
	} {
		var took []time.Duration
		for range 15 {
			exec(t, conn, `BEGIN`)
			exec(t, conn, `UPDATE partition SET isr = replicas, partition_epoch = partition_epoch + 1 WHERE `+c.where, c.args...)
			version, committed := commitVersion(t, conn)
			for a := range arrivals {
				if a.version >= version {
					took = append(took, a.at.Sub(committed))
					break
				}
			}
		}
		slices.Sort(took)
		t.Logf("%s: median %v, least %v, most %v", c.name, took[len(took)/2], took[0], took[len(took)-1])
		if median := took[len(took)/2]; median > c.limit {
			t.Errorf("%s: %v to the callback", c.name, median)
		}
	}
}
