package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// AssignDirs records in which log directories broker self keeps its replicas, before they take their first record: from then on a disk that is lost is
// noticed. Index i of the result belongs to assignment i. Repeating it is harmless.
//
// REPLICA_NOT_AVAILABLE when self has no replica; LOG_DIR_NOT_FOUND when the directory is none that self registered.
// KAFKA_STORAGE_ERROR when the replica is in the ISR by what it had in another directory that is gone: a new one is
// empty, and taking it would lose what was acknowledged. Only an unclean election frees such a replica.
func (s *Store) AssignDirs(ctx context.Context, self metadata.BrokerID, assignments []metadata.DirAssignment) ([]error, error) {
	var out []error
	err := s.change(ctx, brokerOp("assign directories"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		out = make([]error, len(assignments))
		var registered []metadata.DirID
		err := tx.QueryRow(ctx, `SELECT dirs FROM broker WHERE broker_id = $1 FOR SHARE`, self).Scan(&registered)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return false, err
		}
		tps := make([]metadata.TopicPartition, len(assignments))
		for i, a := range assignments {
			tps[i] = a.TopicPartition
		}
		locked, err := lockSome(ctx, tx, tps)
		if err != nil {
			return false, err
		}
		byKey := map[metadata.TopicPartition]*metadata.Partition{}
		for _, p := range locked {
			byKey[p.TopicPartition] = p
		}
		changed := map[metadata.TopicPartition]*metadata.Partition{}
		for i, a := range assignments {
			p := byKey[a.TopicPartition]
			next, err := assignDir(p, self, a.Dir, registered)
			if out[i] = err; err == nil && next != p {
				byKey[a.TopicPartition], changed[a.TopicPartition] = next, next
			}
		}
		return len(changed) > 0, savePartitions(ctx, tx, slices.Collect(maps.Values(changed)))
	})
	return out, err
}

// assignDir decides one assignment; p nil: there is no such partition. The result is p itself when nothing changes.
func assignDir(p *metadata.Partition, self metadata.BrokerID, dir metadata.DirID, registered []metadata.DirID) (*metadata.Partition, error) {
	if p == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	if !slices.Contains(registered, dir) {
		return nil, fmt.Errorf("%w: broker %d has not registered directory %s", kerr.LogDirNotFound, self, dir)
	}
	i := slices.Index(p.Replicas, self)
	if i < 0 {
		return nil, fmt.Errorf("%w: broker %d has no replica of %s", kerr.ReplicaNotAvailable, self, p.TopicPartition)
	}
	old := p.Dirs[i]
	if old == dir {
		return p, nil
	}
	lost := old != uuid.Nil && !slices.Contains(registered, old)
	if lost && slices.Contains(p.ISR, self) {
		return nil, fmt.Errorf("%w: broker %d lost directory %s with its in-sync replica of %s", kerr.KafkaStorageError, self, old, p.TopicPartition)
	}
	return metadata.WithDir(p, self, dir, lost), nil
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
