package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// querier is a transaction, a pool or a connection.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Version returns meta_version: cheap, to learn whether an Image is still current.
func (s *Store) Version(ctx context.Context) (int64, error) {
	var v int64
	err := s.update(ctx, brokerOp("metadata version"), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT v FROM meta_version`).Scan(&v)
	})
	return v, err
}

// Snapshot reads all metadata as of one moment.
func (s *Store) Snapshot(ctx context.Context) (*metadata.Image, error) {
	var im *metadata.Image
	err := s.view(ctx, brokerOp("metadata snapshot"), func(ctx context.Context, tx pgx.Tx) (err error) {
		im, err = readImage(ctx, tx)
		return err
	})
	return im, err
}

func readImage(ctx context.Context, tx pgx.Tx) (*metadata.Image, error) {
	im := &metadata.Image{
		Topics:        map[metadata.TopicID]*metadata.Topic{},
		ByName:        map[string]*metadata.Topic{},
		BrokerConfigs: map[metadata.BrokerID]map[string]string{},
	}
	err := tx.QueryRow(ctx, `SELECT v, broker_id FROM meta_version, controller_epoch`).Scan(&im.Version, &im.Controller)
	if err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, `SELECT cluster_id FROM cluster`).Scan(&im.ClusterID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if im.Brokers, err = readBrokers(ctx, tx, ""); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, querier, *metadata.Image) error{readTopics, readTopicConfigs, readBrokerConfigs} {
		if err := read(ctx, tx, im); err != nil {
			return nil, err
		}
	}
	if err := addPartitions(ctx, tx, im); err != nil {
		return nil, err
	}
	im.GroupShards, err = readShards(ctx, tx)
	return im, err
}

// readBrokers reads all brokers by id; locking is a locking clause or empty.
func readBrokers(ctx context.Context, q querier, locking string) (map[metadata.BrokerID]*metadata.Broker, error) {
	rows, err := q.Query(ctx, `SELECT broker_id, epoch, host, port, rack, dirs, fenced, in_shutdown FROM broker ORDER BY broker_id `+locking)
	if err != nil {
		return nil, err
	}
	brokers := map[metadata.BrokerID]*metadata.Broker{}
	var b metadata.Broker
	_, err = pgx.ForEachRow(rows, []any{&b.ID, &b.Epoch, &b.Host, &b.Port, &b.Rack, &b.Dirs, &b.Fenced, &b.InShutdown}, func() error {
		broker := b
		brokers[b.ID] = &broker
		b.Dirs = nil
		return nil
	})
	return brokers, err
}

func readTopics(ctx context.Context, q querier, im *metadata.Image) error {
	rows, err := q.Query(ctx, `SELECT topic_id, name FROM topic`)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		t := &metadata.Topic{ID: id, Name: name, Configs: map[string]string{}}
		im.Topics[id], im.ByName[name] = t, t
		return nil
	})
	return err
}

func readTopicConfigs(ctx context.Context, q querier, im *metadata.Image) error {
	rows, err := q.Query(ctx, `SELECT topic_id, name, value FROM topic_config`)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &value}, func() error {
		if t := im.Topics[id]; t != nil { // outside a snapshot, a topic may have come since the topics were read
			t.Configs[name] = value
		}
		return nil
	})
	return err
}

func readBrokerConfigs(ctx context.Context, q querier, im *metadata.Image) error {
	rows, err := q.Query(ctx, `SELECT broker_id, name, value FROM broker_config`)
	if err != nil {
		return err
	}
	var id metadata.BrokerID
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &value}, func() error {
		if im.BrokerConfigs[id] == nil {
			im.BrokerConfigs[id] = map[string]string{}
		}
		im.BrokerConfigs[id][name] = value
		return nil
	})
	return err
}

func addPartitions(ctx context.Context, q querier, im *metadata.Image) error {
	return readPartitions(ctx, q, `ORDER BY topic_id, partition`, nil, func(p *metadata.Partition) error {
		t := im.Topics[p.TopicID]
		if int(p.TopicPartition.Partition) != len(t.Partitions) {
			return fmt.Errorf("topic %s (%s) has partition %d where %d should be", t.Name, t.ID, p.TopicPartition.Partition, len(t.Partitions))
		}
		t.Partitions = append(t.Partitions, p)
		return nil
	})
}

// readPartitions calls f for each partition that clause (WHERE, ORDER BY, locking) selects.
func readPartitions(ctx context.Context, q querier, clause string, args []any, f func(*metadata.Partition) error) error {
	rows, err := q.Query(ctx, `SELECT topic_id, partition, leader, leader_epoch, partition_epoch, replicas, isr, dirs,
		recovery, log_start_offset, elr, last_known_elr, adding, removing FROM partition `+clause, args...)
	if err != nil {
		return err
	}
	var p metadata.Partition
	var replicas, isr, elr, lastKnown, adding, removing []int32
	fields := []any{&p.TopicID, &p.TopicPartition.Partition, &p.Leader, &p.LeaderEpoch, &p.PartitionEpoch, &replicas,
		&isr, &p.Dirs, &p.Recovery, &p.LogStartOffset, &elr, &lastKnown, &adding, &removing}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		row := p
		row.Replicas, row.ISR = brokerIDs(replicas), brokerIDs(isr)
		row.ELR, row.LastKnownELR, row.Adding, row.Removing = brokerIDs(elr), brokerIDs(lastKnown), brokerIDs(adding), brokerIDs(removing)
		replicas, isr, elr, lastKnown, adding, removing, p.Dirs = nil, nil, nil, nil, nil, nil, nil
		return f(&row)
	})
	return err
}

// lockPartitions reads and locks partitions FOR UPDATE in key order.
func lockPartitions(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]*metadata.Partition, error) {
	var out []*metadata.Partition
	err := readPartitions(ctx, tx, where+` ORDER BY topic_id, partition FOR UPDATE`, args, func(p *metadata.Partition) error {
		out = append(out, p)
		return nil
	})
	return out, err
}

func readShards(ctx context.Context, q querier) ([]metadata.Shard, error) {
	rows, err := q.Query(ctx, `SELECT owner, epoch FROM coordinator_shard WHERE kind = 'group' ORDER BY shard`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s metadata.Shard, err error) {
		err = row.Scan(&s.Owner, &s.Epoch)
		return s, err
	})
}
