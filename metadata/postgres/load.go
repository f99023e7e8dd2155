package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// Version returns meta_version: cheap, to learn whether an Image is still current.
func (s *Store) Version(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	var v int64
	for stale := int32(0); ; stale++ { // as begin
		err := s.images.QueryRow(ctx, `SELECT v FROM meta_version`).Scan(&v)
		if err == nil || stale >= s.images.Config().MaxConns || !isConnectionLost(err) {
			return v, brokerOp("metadata version").wrap(err)
		}
	}
}

// Snapshot reads all metadata as of one moment.
func (s *Store) Snapshot(ctx context.Context) (*metadata.Image, error) { return s.Load(ctx, nil) }

// Load reads the metadata as of one moment: all of it when prev is nil, else only the topics and partitions that
// changed since prev, an image that Load returned, was read; the others are shared with prev. metadata.ErrReload when
// prev is no base for that.
//
// A row's column changed is the transaction that wrote it last. What prev has not seen is what is visible now and was
// not in the snapshot that prev was read with, however long it was in flight.
func (s *Store) Load(ctx context.Context, prev *metadata.Image) (*metadata.Image, error) {
	l := loader{}
	if prev != nil {
		mark, ok := prev.Mark.(mark)
		if !ok {
			return nil, fmt.Errorf("load metadata: %w: it was last read from a standby, or elsewhere", metadata.ErrReload)
		}
		l = loader{prev: prev, mark: mark, since: changedSince, args: []any{mark.snapshot}}
	}
	var im *metadata.Image
	err := s.transact(ctx, s.images, brokerOp("load metadata"), oneMoment, func(ctx context.Context, tx pgx.Tx) (err error) {
		l.delta, l.topics, im = metadata.Delta{}, 0, &metadata.Image{BrokerConfigs: map[metadata.BrokerID]map[string]string{}}
		return l.load(ctx, tx, im)
	})
	return im, err
}

// changedSince selects the rows that are visible now and were not in the snapshot $1. Rows that claim a transaction of
// the future were restored from another server's dump; they did not change since.
const changedSince = `WHERE changed >= pg_snapshot_xmin($1::text::pg_snapshot)
	AND changed < pg_snapshot_xmax(pg_current_snapshot())
	AND NOT pg_visible_in_snapshot(changed, $1::text::pg_snapshot)`

// A mark is kept in an Image to load the next one from it. Transactions are compared only on one server process: a
// backup, a standby that took over and a server that crashed may have given the same numbers to others.
type mark struct {
	snapshot string    // pg_current_snapshot()
	server   time.Time // pg_postmaster_start_time()
}

// loader reads one image. prev is nil in a full load.
type loader struct {
	prev  *metadata.Image
	mark  mark
	since string // a WHERE clause, none in a full load
	args  []any

	delta  metadata.Delta
	topics int // how many there are now
}

func (l *loader) load(ctx context.Context, tx pgx.Tx, im *metadata.Image) error {
	b := &pgx.Batch{} // one round trip for all
	// Not a join: Postgres does not know that these tables have one row, and would compile a plan for millions.
	b.Queue(`SELECT (SELECT v FROM meta_version), (SELECT broker_id FROM controller_epoch), (SELECT cluster_id FROM cluster),
		(SELECT count(*) FROM topic), pg_current_snapshot()::text, pg_postmaster_start_time(), pg_is_in_recovery()`).
		QueryRow(func(row pgx.Row) error { return l.head(row, im) })
	b.Queue(selectBrokers).Query(func(rows pgx.Rows) (err error) { im.Brokers, err = scanBrokers(rows); return err })
	b.Queue(selectBrokerConfigs).Query(func(rows pgx.Rows) error { return scanBrokerConfigs(rows, im) })
	b.Queue(selectShards).Query(func(rows pgx.Rows) (err error) { im.GroupShards, err = scanShards(rows); return err })
	found := &metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{}, ByName: map[string]*metadata.Topic{}}
	b.Queue(selectTopics+l.since, l.args...).Query(func(rows pgx.Rows) error { return scanTopics(rows, found) })
	b.Queue(selectTopicConfigs+`JOIN topic USING (topic_id) `+l.since, l.args...).
		Query(func(rows pgx.Rows) error { return scanTopicConfigs(rows, found) })
	b.Queue(selectPartitions+l.since+` ORDER BY topic_id, partition`, l.args...).
		Query(func(rows pgx.Rows) error {
			return scanPartitions(rows, func(p *metadata.Partition) error {
				l.delta.Partitions = append(l.delta.Partitions, p)
				return nil
			})
		})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	l.delta.Topics = slices.Collect(maps.Values(found.Topics))
	if l.prev == nil {
		return im.Derive(&metadata.Image{}, l.delta)
	}
	if err := l.findGone(ctx, tx); err != nil {
		return err
	}
	if err := im.Derive(l.prev, l.delta); err != nil {
		return fmt.Errorf("%w: found %w", metadata.ErrReload, err)
	}
	return nil
}

func (l *loader) head(row pgx.Row, im *metadata.Image) error {
	var cluster *uuid.UUID // NULL before the first broker
	var m mark
	var standby bool
	if err := row.Scan(&im.Version, &im.Controller, &cluster, &l.topics, &m.snapshot, &m.server, &standby); err != nil {
		return err
	}
	if cluster != nil {
		im.ClusterID = *cluster
	}
	if !standby { // whose snapshots do not name the transactions in progress
		im.Mark = m
	}
	switch {
	case l.prev == nil:
		return nil
	case standby || !m.server.Equal(l.mark.server):
		return fmt.Errorf("%w: the database server is another one, or was restarted", metadata.ErrReload)
	case im.Version < l.prev.Version || im.ClusterID != l.prev.ClusterID:
		return fmt.Errorf("%w: version %d of cluster %s came after version %d of cluster %s", metadata.ErrReload,
			im.Version, im.ClusterID, l.prev.Version, l.prev.ClusterID)
	}
	return nil
}

// findGone compares the number of topics, and looks for those that are gone only if some are.
func (l *loader) findGone(ctx context.Context, tx pgx.Tx) error {
	gone := len(l.prev.Topics) - l.topics
	for _, t := range l.delta.Topics {
		if l.prev.Topics[t.ID] == nil {
			gone++
		}
	}
	if gone != 0 {
		rows, err := tx.Query(ctx, `SELECT topic_id FROM topic`)
		if err != nil {
			return err
		}
		left := make(map[metadata.TopicID]bool, l.topics)
		var id metadata.TopicID
		if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { left[id] = true; return nil }); err != nil {
			return err
		}
		for id := range l.prev.Topics {
			if !left[id] {
				l.delta.Gone = append(l.delta.Gone, id)
			}
		}
	}
	if gone != len(l.delta.Gone) {
		return fmt.Errorf("%w: %d topics are gone, not %d", metadata.ErrReload, len(l.delta.Gone), gone)
	}
	return nil
}
