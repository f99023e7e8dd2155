package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// AlterISR makes the in-sync sets of partitions what their leader, broker self, has seen: index i of the result belongs
// to changes[i], see metadata.AlterISR for the errors of one. A set that completes a reassignment completes it: the outcome then is without
// the replicas that left, in a new leader epoch, and may have another leader. All that can be changed is changed in one transaction.
// STALE_BROKER_EPOCH when self is no longer registered with this epoch; nothing has changed then.
func (s *Store) AlterISR(ctx context.Context, self metadata.BrokerID, epoch metadata.BrokerEpoch, changes []metadata.ISRChange) ([]metadata.ISROutcome, error) {
	var out []metadata.ISROutcome
	err := s.change(ctx, brokerOp("alter in-sync sets"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		// Shared locks on the brokers keep a fencing out, which would otherwise miss the sets that are written here.
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		if b := brokers[self]; b == nil || b.Epoch != epoch {
			return false, staleIfNone(pgx.ErrNoRows, self, epoch)
		}
		keys := make([]metadata.TopicPartition, len(changes))
		for i, c := range changes {
			keys[i] = c.TopicPartition
		}
		locked, err := lockSome(ctx, tx, keys)
		if err != nil {
			return false, err
		}
		minISR, err := s.minISR(ctx, tx, locked)
		if err != nil {
			return false, err
		}
		outcomes, changed := alterISRs(locked, changes, self, brokers, minISR)
		out = outcomes
		return len(changed) > 0, savePartitions(ctx, tx, slices.Collect(maps.Values(changed)))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// alterISRs decides changes one after another and returns their outcomes and the partitions that are different now.
func alterISRs(locked []*metadata.Partition, changes []metadata.ISRChange, self metadata.BrokerID, brokers map[metadata.BrokerID]*metadata.Broker, minISR func(metadata.TopicID) int) ([]metadata.ISROutcome, map[metadata.TopicPartition]*metadata.Partition) {
	byKey := map[metadata.TopicPartition]*metadata.Partition{}
	for _, p := range locked {
		byKey[p.TopicPartition] = p
	}
	out := make([]metadata.ISROutcome, len(changes))
	changed := map[metadata.TopicPartition]*metadata.Partition{}
	for i, c := range changes {
		p := byKey[c.TopicPartition]
		next, err := metadata.AlterISR(p, c, self, brokers, minISR(c.TopicID))
		if err == nil && next != p {
			next = metadata.FinishReassignment(p, next, brokers, minISR(c.TopicID))
		}
		out[i] = metadata.ISROutcome{Partition: next, Err: err}
		if err == nil && next != p {
			byKey[c.TopicPartition], changed[c.TopicPartition] = next, next // the same partition may be asked for twice
		}
	}
	return out, changed
}

const minISRSetting = "min.insync.replicas"

// minISR returns min.insync.replicas of the topics of partitions.
func (s *Store) minISR(ctx context.Context, tx pgx.Tx, partitions []*metadata.Partition) (func(metadata.TopicID) int, error) {
	seen := map[metadata.TopicID]bool{}
	var topics []metadata.TopicID
	for _, p := range partitions {
		if !seen[p.TopicID] {
			seen[p.TopicID] = true
			topics = append(topics, p.TopicID)
		}
	}
	rows, err := tx.Query(ctx, `SELECT topic_id, value FROM topic_config WHERE name = $1 AND topic_id = ANY ($2::uuid[])`, minISRSetting, topics)
	if err != nil {
		return nil, err
	}
	overrides := map[metadata.TopicID]map[string]string{}
	var id uuid.UUID
	var value string
	_, err = pgx.ForEachRow(rows, []any{&id, &value}, func() error {
		overrides[id] = map[string]string{minISRSetting: value}
		return nil
	})
	return func(id metadata.TopicID) int { return s.cfg.MinISR(overrides[id]) }, err
}

// minISROverride is Config.MinISR when there is none: what the topic says, or 1.
func minISROverride(overrides map[string]string) int {
	n, err := strconv.Atoi(overrides[minISRSetting])
	if err != nil {
		return 1
	}
	return n
}

// clearELR forgets who was eligible by another min.insync.replicas: in the topic that configs belongs to, or everywhere.
func clearELR(ctx context.Context, tx pgx.Tx, configs configTable) error {
	where, args := `WHERE elr <> '{}' OR last_known_elr <> '{}'`, []any(nil)
	if configs.table == "topic_config" {
		where, args = `WHERE topic_id = $1 AND (elr <> '{}' OR last_known_elr <> '{}')`, []any{configs.key}
	}
	locked, err := lockPartitions(ctx, tx, where, args...)
	if err != nil {
		return err
	}
	for i, p := range locked {
		locked[i] = metadata.WithoutELR(p)
	}
	return savePartitions(ctx, tx, locked)
}
