package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

func load(t *testing.T, s *postgres.Store, prev *metadata.Image) *metadata.Image {
	t.Helper()
	im, err := s.Load(t.Context(), prev)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// sameTopics compares topics by content.
func sameTopics(t *testing.T, got, want *metadata.Image) {
	t.Helper()
	for id, w := range want.Topics {
		g := got.Topics[id]
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("version %d: topic %s:\n%+v\nwant\n%+v", want.Version, w.Name, g, w)
		}
		if got.ByName[w.Name] != g {
			t.Fatalf("version %d: topic %s is not found by its name", want.Version, w.Name)
		}
	}
	if len(got.Topics) != len(want.Topics) || len(got.ByName) != len(want.ByName) {
		t.Fatalf("version %d: %d topics, %d names, want %d, %d", want.Version, len(got.Topics), len(got.ByName), len(want.Topics), len(want.ByName))
	}
}

func TestIncrementalLoadIsQuick(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	ids := manyPartitions(t, s, 1000)
	conn := connect(t, url)
	started := time.Now()
	im := load(t, s, nil)
	full := time.Since(started)
	var took []time.Duration
	for range 15 {
		exec(t, conn, `UPDATE partition SET partition_epoch = partition_epoch + 1 WHERE topic_id = $1 AND partition = 7`, ids[3])
		started := time.Now()
		next := load(t, s, im)
		took = append(took, time.Since(started))
		for id, topic := range next.Topics {
			if shared := topic == im.Topics[id]; shared == (id == ids[3]) {
				t.Fatalf("topic %s is shared: %v", topic.Name, shared)
			}
		}
		was, is := im.Topics[ids[3]].Partitions, next.Topics[ids[3]].Partitions
		if is[6] != was[6] || is[7].PartitionEpoch != was[7].PartitionEpoch+1 {
			t.Fatalf("%+v, was %+v", is[7], was[7])
		}
		im = next
	}
	slices.Sort(took)
	t.Logf("1 of 10,000 partitions in 1000 topics: median %v, most %v; all of them: %v", took[7], took[14], full)
	if took[7] > 20*time.Millisecond {
		t.Errorf("an incremental load takes %v", took[7])
	}
}

// churner makes transactions of metadata as they come: of any kind, rolled back in part or in full, some of them long.
type churner struct {
	rng  *rand.Rand
	conn *pgx.Conn
	name string
}

func (c *churner) transaction(ctx context.Context) error {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for range 1 + c.rng.IntN(4) {
		if err := c.step(ctx, tx); err != nil {
			return err
		}
	}
	if c.rng.IntN(5) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `UPDATE meta_version SET v = v + 1`); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func (c *churner) step(ctx context.Context, tx pgx.Tx) error {
	const some = `(SELECT topic_id FROM topic ORDER BY random() LIMIT 1)`
	const partition = `INSERT INTO partition (topic_id, partition, leader, replicas, isr, dirs) `
	const values = `1, '{1}', '{1}', '{00000000-0000-0000-0000-000000000000}' `
	var err error
	switch c.rng.IntN(8) {
	case 0:
		_, err = tx.Exec(ctx, `INSERT INTO topic (topic_id, name, name_norm) VALUES (gen_random_uuid(), $1, $1) ON CONFLICT DO NOTHING`,
			fmt.Sprintf("%s-%d", c.name, c.rng.IntN(10)))
	case 1:
		_, err = tx.Exec(ctx, `DELETE FROM topic WHERE topic_id = `+some)
	case 2: // further partitions
		_, err = tx.Exec(ctx, `WITH t AS (SELECT topic_id FROM topic ORDER BY random() LIMIT 1 FOR UPDATE) `+partition+`
			SELECT topic_id, (SELECT count(*) FROM partition AS p WHERE p.topic_id = t.topic_id) + i, `+values+`FROM t, generate_series(0, 2) AS i`)
	case 3:
		_, err = tx.Exec(ctx, `INSERT INTO topic_config (topic_id, name, value) SELECT topic_id, 'retention.ms', $1 FROM topic WHERE topic_id = `+some+`
			ON CONFLICT (topic_id, name) DO UPDATE SET value = $1`, fmt.Sprint(c.rng.IntN(100)))
	case 4:
		_, err = tx.Exec(ctx, `DELETE FROM topic_config WHERE topic_id = `+some)
	case 5:
		_, err = tx.Exec(ctx, `SELECT pg_sleep($1)`, c.rng.Float64()*0.04)
	case 6: // in a subtransaction that may be rolled back
		sub, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := sub.Exec(ctx, `UPDATE partition SET leader_epoch = leader_epoch + 1 WHERE random() < 0.1`); err != nil {
			return err
		}
		if c.rng.IntN(2) == 0 {
			return sub.Rollback(ctx)
		}
		return sub.Commit(ctx)
	case 7:
		_, err = tx.Exec(ctx, `UPDATE partition SET partition_epoch = partition_epoch + 1 WHERE random() < 0.1`)
	}
	return err
}

// Whatever happens at the same time, an incremental reader sees what a full load shows at that version.
func TestIncrementalEqualsFull(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	url := testpg.URL(t)
	s := openURL(t, url)
	var writers sync.WaitGroup
	for i := range uint64(4) {
		c := &churner{rand.New(rand.NewPCG(seed, i)), connect(t, url), fmt.Sprintf("flights-%d", i)}
		exec(t, c.conn, `SET lock_timeout = '30ms'`) // nobody waits for a deadlock to be noticed
		writers.Go(func() {
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
				var pg interface{ SQLState() string }
				if err := c.transaction(t.Context()); err != nil && !errors.As(err, &pg) { // lock timeouts, deadlocks and duplicates happen
					t.Error(err)
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	defer func() { <-ended }()
	im, pause := load(t, s, nil), connect(t, url)
	rng := rand.New(rand.NewPCG(seed, 99))
	loads, compared, changed, most := 0, 0, 0, 0
	for running := true; running; loads++ {
		select {
		case <-ended:
			running = false
		default:
		}
		if rng.IntN(3) == 0 && running {
			exec(t, pause, `SELECT pg_sleep($1)`, rng.Float64()*0.03)
		}
		next := load(t, s, im) // ErrReload never
		if next.Version > im.Version {
			changed++
		}
		im = next
		most = max(most, len(im.Topics))
		if full := load(t, s, nil); full.Version == im.Version {
			compared++
			sameTopics(t, im, full)
		}
	}
	t.Logf("%d incremental loads, %d with news, %d compared, version %d, up to %d topics", loads, changed, compared, im.Version, most)
	if changed < 20 || compared < 20 || most < 2 {
		t.Error("too little happened")
	}
}

// prev is refused as a base when the differences from it cannot be told.
func TestLoadAsksForReload(t *testing.T) {
	t.Parallel()
	pg := testpg.Server(t)
	s := openURL(t, pg.URL())
	newBroker(1).join(t, s)
	id := topic(t, s, "flights", []metadata.BrokerID{1}, []metadata.BrokerID{1}, []metadata.BrokerID{1})
	if _, err := s.ClusterID(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		prepare func(conn *pgx.Conn, prev *metadata.Image)
	}{
		{"without a mark", func(_ *pgx.Conn, prev *metadata.Image) { prev.Mark = nil }},
		{"the version went back", func(conn *pgx.Conn, _ *metadata.Image) { exec(t, conn, `UPDATE meta_version SET v = v - 1`) }},
		{"another cluster", func(conn *pgx.Conn, _ *metadata.Image) {
			exec(t, conn, `UPDATE cluster SET cluster_id = gen_random_uuid()`)
		}},
		{"a gap", func(conn *pgx.Conn, prev *metadata.Image) {
			topic := *prev.Topics[id]
			topic.Partitions = topic.Partitions[:1]
			prev.Topics[id] = &topic
			exec(t, conn, `UPDATE partition SET partition_epoch = 3 WHERE partition = 2`)
		}},
		{"a topic that should not be there", func(_ *pgx.Conn, prev *metadata.Image) { delete(prev.Topics, id) }},
		{"another server", func(*pgx.Conn, *metadata.Image) { pg.Stop(); pg.Start() }},
	} {
		prev := load(t, s, nil)
		if _, err := s.Load(t.Context(), prev); err != nil {
			t.Fatalf("%s: %v before", c.name, err)
		}
		c.prepare(connect(t, pg.URL()), prev)
		if _, err := s.Load(t.Context(), prev); !errors.Is(err, metadata.ErrReload) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// unstamped runs a statement that changed does not notice, as a restored database has not.
func unstamped(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	exec(t, conn, `SET session_replication_role = replica`)
	exec(t, conn, sql)
	exec(t, conn, `SET session_replication_role = origin`)
}

// After a dump of a server with higher numbers was restored, its rows are not read again in every load.
func TestRowsOfTheFutureAreNotNews(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	newBroker(1).join(t, s)
	id := topic(t, s, "flights", []metadata.BrokerID{1}, []metadata.BrokerID{1})
	conn := connect(t, url)
	unstamped(t, conn, `UPDATE partition SET changed = '123456789012'`)
	im := load(t, s, nil)
	unstamped(t, conn, `UPDATE partition SET leader_epoch = 5 WHERE partition = 0`)
	exec(t, conn, `UPDATE partition SET leader_epoch = 6 WHERE partition = 1`)
	next := load(t, s, im)
	if p := next.Topics[id].Partitions; p[0].LeaderEpoch != 0 || p[1].LeaderEpoch != 6 {
		t.Errorf("%+v %+v", p[0], p[1])
	}
}

// counter returns the value of a counter.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no metric ", name)
	return 0
}

// When the connection that hears of changes was lost, everything is read again, also at the same version: the database
// may have lost commits and made others. What is the same keeps its pointers.
func TestPublisherReadsAllAfterLosingListen(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	newBroker(1).join(t, s)
	id := topic(t, s, "flights", []metadata.BrokerID{1}, []metadata.BrokerID{1})
	other := topic(t, s, "other", []metadata.BrokerID{1})
	reg := prometheus.NewRegistry()
	p := metadata.NewPublisher(s, nil, reg)
	images := make(chan *metadata.Image, 100)
	p.OnImage(func(im *metadata.Image) { images <- im })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.Run(ctx) })
	first := <-images
	conn := connect(t, url)
	full := func() float64 { return counter(t, reg, "varve_metadata_full_loads_total") }
	unstamped(t, conn, `UPDATE partition SET leader_epoch = 5 WHERE partition = 1`)
	for range 3 {
		if err := p.Refresh(t.Context()); err != nil || p.Image().Topics[id].Partitions[1].LeaderEpoch != 0 {
			t.Fatalf("%v; this test needs a change that an incremental load does not see", err)
		}
	}
	before := full()
	exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'varve' AND datname = current_database()`)
	await(t, "all read", func() bool { return p.Image().Topics[id].Partitions[1].LeaderEpoch == 5 })
	if full() == before {
		t.Error("not counted")
	}
	last := <-images
	if last.Version != first.Version || last.Topics[other] != first.Topics[other] || last.Topics[id].Partitions[0] != first.Topics[id].Partitions[0] {
		t.Error("what is the same has other pointers")
	}
}
