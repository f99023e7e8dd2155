package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// ElectLeaders elects leaders on request; index i of the result belongs to tps[i]. tps nil means every partition, in
// the order of topic id and partition. Errors per partition: UNKNOWN_TOPIC_OR_PARTITION; ELECTION_NOT_NEEDED when the
// preferred leader leads, or (unclean) when there is a leader; PREFERRED_LEADER_NOT_AVAILABLE,
// ELIGIBLE_LEADERS_NOT_AVAILABLE; INVALID_REQUEST for an unknown kind.
func (s *Store) ElectLeaders(ctx context.Context, kind metadata.ElectionType, tps []metadata.TopicPartition) ([]error, error) {
	var out []error
	err := s.change(ctx, adminOp("elect leaders"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		locked, err := lockSome(ctx, tx, tps)
		if err != nil {
			return false, err
		}
		minISR, err := s.minISR(ctx, tx, locked)
		if err != nil {
			return false, err
		}
		byKey := map[metadata.TopicPartition]*metadata.Partition{}
		keys := tps
		for _, p := range locked {
			byKey[p.TopicPartition] = p
			if tps == nil {
				keys = append(keys, p.TopicPartition)
			}
		}
		out = make([]error, len(keys))
		var changed []*metadata.Partition
		for i, tp := range keys {
			next, err := electOnRequest(byKey[tp], kind, brokers, minISR(tp.TopicID))
			if out[i] = err; err == nil {
				changed = append(changed, next)
				byKey[tp] = next // the same partition asked for twice
			}
		}
		return len(changed) > 0, savePartitions(ctx, tx, changed)
	})
	return out, err
}

func lockSome(ctx context.Context, tx pgx.Tx, tps []metadata.TopicPartition) ([]*metadata.Partition, error) {
	if tps == nil {
		return lockPartitions(ctx, tx, ``)
	}
	topics, indexes := make([]metadata.TopicID, len(tps)), make([]int32, len(tps))
	for i, tp := range tps {
		topics[i], indexes[i] = tp.TopicID, tp.Partition
	}
	return lockPartitions(ctx, tx, `WHERE (topic_id, partition) IN (SELECT * FROM unnest($1::uuid[], $2::int[]))`, topics, indexes)
}

// electOnRequest applies one item of ElectLeaders. p nil: there is no such partition.
func electOnRequest(p *metadata.Partition, kind metadata.ElectionType, brokers map[metadata.BrokerID]*metadata.Broker, minISR int) (*metadata.Partition, error) {
	if p == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	switch kind {
	case metadata.ElectPreferred:
		if p.Leader == p.Replicas[0] {
			return nil, kerr.ElectionNotNeeded
		}
		next := metadata.Elect(p, brokers, metadata.PreferFirst, false, minISR)
		if next.Leader != p.Replicas[0] {
			return nil, fmt.Errorf("%w: broker %d", kerr.PreferredLeaderNotAvailable, p.Replicas[0])
		}
		return next, nil
	case metadata.ElectUnclean:
		if p.Leader != metadata.NoBroker {
			return nil, kerr.ElectionNotNeeded
		}
		next := metadata.Elect(p, brokers, metadata.KeepLeader, true, minISR)
		if next.Leader == metadata.NoBroker {
			return nil, fmt.Errorf("%w: none of brokers %v is live", kerr.EligibleLeadersNotAvailable, p.Replicas)
		}
		return next, nil
	}
	return nil, fmt.Errorf("%w: election type %d", kerr.InvalidRequest, kind)
}

// lockLed locks the partition, FOR UPDATE or FOR SHARE, if self leads it with leaderEpoch: UNKNOWN_TOPIC_OR_PARTITION
// or FENCED_LEADER_EPOCH when not. This is the fence of all that leaders write.
func lockLed(ctx context.Context, tx pgx.Tx, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, locking string) error {
	var leader metadata.BrokerID
	var epoch int32
	err := tx.QueryRow(ctx, `SELECT leader, leader_epoch FROM partition WHERE topic_id = $1 AND partition = $2 `+locking,
		tp.TopicID, tp.Partition).Scan(&leader, &epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %s", kerr.UnknownTopicOrPartition, tp)
	}
	if err == nil && (leader != self || epoch != leaderEpoch) {
		return fmt.Errorf("%w: %s is led by broker %d in epoch %d, not by %d in %d", kerr.FencedLeaderEpoch, tp, leader, epoch, self, leaderEpoch)
	}
	return err
}

// SetRecovered ends the rebuilding after an unclean election: Recovering becomes Recovered. When the broker has one
// directory and the replica none assigned, that one is recorded too. FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Store) SetRecovered(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32) error {
	return s.change(ctx, brokerOp("set recovered"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		var dirs []metadata.DirID
		if err := tx.QueryRow(ctx, `SELECT dirs FROM broker WHERE broker_id = $1 FOR SHARE`, self).Scan(&dirs); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return false, err
		}
		if err := lockLed(ctx, tx, tp, self, leaderEpoch, `FOR UPDATE`); err != nil {
			return false, err
		}
		if len(dirs) == 1 {
			_, err := tx.Exec(ctx, `UPDATE partition SET dirs[array_position(replicas, $3)] = $4
				WHERE topic_id = $1 AND partition = $2 AND dirs[array_position(replicas, $3)] = '00000000-0000-0000-0000-000000000000'`,
				tp.TopicID, tp.Partition, int32(self), dirs[0])
			if err != nil {
				return false, err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE partition SET recovery = 0, partition_epoch = partition_epoch + 1
			WHERE topic_id = $1 AND partition = $2`, tp.TopicID, tp.Partition)
		return true, err
	})
}

// RaiseLogStart persists a higher log start offset and returns the one in force, which never falls.
// FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Store) RaiseLogStart(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, offset int64) (int64, error) {
	var start int64
	err := s.change(ctx, brokerOp("raise log start"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if err := lockLed(ctx, tx, tp, self, leaderEpoch, `FOR UPDATE`); err != nil {
			return false, err
		}
		changed, err := raiseLogStart(ctx, tx, tp, offset)
		if err != nil {
			return false, err
		}
		return changed, tx.QueryRow(ctx, `SELECT log_start_offset FROM partition WHERE topic_id = $1 AND partition = $2`, tp.TopicID, tp.Partition).Scan(&start)
	})
	return start, err
}

// raiseLogStart raises the log start of a locked partition and reports whether it was lower.
func raiseLogStart(ctx context.Context, tx pgx.Tx, tp metadata.TopicPartition, offset int64) (bool, error) {
	tag, err := tx.Exec(ctx, `UPDATE partition SET log_start_offset = $3
		WHERE topic_id = $1 AND partition = $2 AND log_start_offset < $3`, tp.TopicID, tp.Partition, offset)
	return tag.RowsAffected() > 0, err
}
