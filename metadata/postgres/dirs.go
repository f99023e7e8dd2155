package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// AssignDir records in which log directory broker self keeps its replica of tp, before the replica takes its first
// record: from then on a disk that is lost is noticed. Repeating it is harmless.
//
// REPLICA_NOT_AVAILABLE when self has no replica; LOG_DIR_NOT_FOUND when dir is not a directory that self registered.
// KAFKA_STORAGE_ERROR when the replica is in the ISR by what it had in another directory that is gone: a new one is
// empty, and taking it would lose what was acknowledged. Only an unclean election frees such a replica.
func (s *Store) AssignDir(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, dir metadata.DirID) error {
	return s.change(ctx, brokerOp("assign directory"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		var registered []metadata.DirID
		err := tx.QueryRow(ctx, `SELECT dirs FROM broker WHERE broker_id = $1 FOR SHARE`, self).Scan(&registered)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return false, err
		}
		if !slices.Contains(registered, dir) {
			return false, fmt.Errorf("%w: broker %d has not registered directory %s", kerr.LogDirNotFound, self, dir)
		}
		locked, err := lockSome(ctx, tx, []metadata.TopicPartition{tp})
		if err != nil {
			return false, err
		}
		if len(locked) == 0 {
			return false, fmt.Errorf("%w: %s", kerr.UnknownTopicOrPartition, tp)
		}
		p := locked[0]
		i := slices.Index(p.Replicas, self)
		if i < 0 {
			return false, fmt.Errorf("%w: broker %d has no replica of %s", kerr.ReplicaNotAvailable, self, tp)
		}
		old := p.Dirs[i]
		if old == dir {
			return false, nil
		}
		lost := old != uuid.Nil && !slices.Contains(registered, old)
		if lost && slices.Contains(p.ISR, self) {
			return false, fmt.Errorf("%w: broker %d lost directory %s with its in-sync replica of %s", kerr.KafkaStorageError, self, old, tp)
		}
		return true, savePartitions(ctx, tx, []*metadata.Partition{metadata.WithDir(p, self, dir, lost)})
	})
}

// LogLost records that broker self no longer has its replica of tp although the directory that held it is online: somebody removed the log.
// From then on the replica counts as being in a directory that does not exist, as after the loss of a whole disk: it leads only after an
// unclean election, which rebuilds it from the bucket.
func (s *Store) LogLost(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID) error {
	return s.change(ctx, brokerOp("record a lost log"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		locked, err := lockSome(ctx, tx, []metadata.TopicPartition{tp})
		if err != nil || len(locked) == 0 {
			return false, err
		}
		p := locked[0]
		i := slices.Index(p.Replicas, self)
		if i < 0 || p.Dirs[i] == uuid.Nil || !metadata.Electable(p, i, brokers) {
			return false, nil // known already
		}
		minISR, err := s.minISR(ctx, tx, locked)
		if err != nil {
			return false, err
		}
		next := metadata.WithoutBroker(metadata.WithDir(p, self, uuid.New(), true), self, brokers, minISR(tp.TopicID), true)
		return true, savePartitions(ctx, tx, []*metadata.Partition{next})
	})
}
