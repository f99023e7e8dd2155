package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// querier is a transaction, a pool or a connection.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// readBrokers reads all brokers by id; locking is a locking clause or empty.
func readBrokers(ctx context.Context, q querier, locking string) (map[metadata.BrokerID]*metadata.Broker, error) {
	rows, err := q.Query(ctx, selectBrokers+`ORDER BY broker_id `+locking)
	if err != nil {
		return nil, err
	}
	return scanBrokers(rows)
}

const selectBrokers = `SELECT broker_id, epoch, host, port, rack, dirs, fenced, in_shutdown FROM broker `

func scanBrokers(rows pgx.Rows) (map[metadata.BrokerID]*metadata.Broker, error) {
	brokers := map[metadata.BrokerID]*metadata.Broker{}
	var b metadata.Broker
	_, err := pgx.ForEachRow(rows, []any{&b.ID, &b.Epoch, &b.Host, &b.Port, &b.Rack, &b.Dirs, &b.Fenced, &b.InShutdown}, func() error {
		broker := b
		brokers[b.ID] = &broker
		b.Dirs = nil
		return nil
	})
	return brokers, err
}

const (
	selectTopics        = `SELECT topic_id, name FROM topic `
	selectTopicConfigs  = `SELECT topic_id, c.name, c.value FROM topic_config AS c `
	selectBrokerConfigs = `SELECT broker_id, name, value FROM broker_config `
	selectShards        = `SELECT owner, epoch FROM coordinator_shard WHERE kind = 'group' ORDER BY shard`
)

func readTopics(ctx context.Context, q querier, im *metadata.Image) error {
	return readInto(ctx, q, selectTopics, im, scanTopics)
}

func readTopicConfigs(ctx context.Context, q querier, im *metadata.Image) error {
	return readInto(ctx, q, selectTopicConfigs, im, scanTopicConfigs)
}

func readBrokerConfigs(ctx context.Context, q querier, im *metadata.Image) error {
	return readInto(ctx, q, selectBrokerConfigs, im, scanBrokerConfigs)
}

func readInto(ctx context.Context, q querier, sql string, im *metadata.Image, scan func(pgx.Rows, *metadata.Image) error) error {
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return err
	}
	return scan(rows, im)
}

func scanTopics(rows pgx.Rows, im *metadata.Image) error {
	var id metadata.TopicID
	var name string
	_, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		t := &metadata.Topic{ID: id, Name: name, Configs: map[string]string{}}
		im.Topics[id], im.ByName[name] = t, t
		return nil
	})
	return err
}

func scanTopicConfigs(rows pgx.Rows, im *metadata.Image) error {
	var id metadata.TopicID
	var name, value string
	_, err := pgx.ForEachRow(rows, []any{&id, &name, &value}, func() error {
		if t := im.Topics[id]; t != nil { // outside a snapshot, a topic may have come since the topics were read
			t.Configs[name] = value
		}
		return nil
	})
	return err
}

func scanBrokerConfigs(rows pgx.Rows, im *metadata.Image) error {
	var id metadata.BrokerID
	var name, value string
	_, err := pgx.ForEachRow(rows, []any{&id, &name, &value}, func() error {
		if im.BrokerConfigs[id] == nil {
			im.BrokerConfigs[id] = map[string]string{}
		}
		im.BrokerConfigs[id][name] = value
		return nil
	})
	return err
}

// readPartitions calls f for each partition that clause (WHERE, ORDER BY, locking) selects.
func readPartitions(ctx context.Context, q querier, clause string, args []any, f func(*metadata.Partition) error) error {
	rows, err := q.Query(ctx, selectPartitions+clause, args...)
	if err != nil {
		return err
	}
	return scanPartitions(rows, f)
}

const selectPartitions = `SELECT topic_id, partition, leader, leader_epoch, partition_epoch, replicas, isr, dirs,
	recovery, log_start_offset, elr, last_known_elr, adding, removing FROM partition `

func scanPartitions(rows pgx.Rows, f func(*metadata.Partition) error) error {
	var p metadata.Partition
	var replicas, isr, elr, lastKnown, adding, removing []int32
	fields := []any{&p.TopicID, &p.TopicPartition.Partition, &p.Leader, &p.LeaderEpoch, &p.PartitionEpoch, &replicas,
		&isr, &p.Dirs, &p.Recovery, &p.LogStartOffset, &elr, &lastKnown, &adding, &removing}
	_, err := pgx.ForEachRow(rows, fields, func() error {
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
	rows, err := q.Query(ctx, selectShards)
	if err != nil {
		return nil, err
	}
	return scanShards(rows)
}

func scanShards(rows pgx.Rows) ([]metadata.Shard, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s metadata.Shard, err error) {
		err = row.Scan(&s.Owner, &s.Epoch)
		return s, err
	})
}
