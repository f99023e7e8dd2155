package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// passLimit bounds the partitions that one transaction of a controller locks.
const passLimit = 1000

// AcquireController makes broker id the controller for ttl when no other broker holds the lease: ok false when one does,
// or when another is trying at this moment. A lease of the same broker is an earlier process's. A new controller knows nothing of how long the brokers have been
// silent (Postgres may have been away), so every unfenced broker gets a full session first.
func (s *Store) AcquireController(ctx context.Context, id metadata.BrokerID, ttl time.Duration) (epoch int64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err = s.transact(ctx, s.leases, brokerOp("acquire controller"), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		ok = false
		// First without locks: most of the time another broker is the controller and works.
		var free bool
		if err := tx.QueryRow(ctx, leaseIsFree, id).Scan(&free); err != nil || !free {
			return cmp.Or(err, errRollback)
		}
		err := tx.QueryRow(ctx, `SELECT epoch FROM controller_epoch FOR UPDATE SKIP LOCKED`).Scan(&epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return errRollback
		}
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, leaseIsFree+` FOR UPDATE OF l`, id).Scan(&free); err != nil || !free {
			return cmp.Or(err, errRollback)
		}
		epoch, ok = epoch+1, true
		return takeOver(ctx, tx, id, epoch, ttl)
	})
	if err != nil || !ok {
		return 0, false, err
	}
	return epoch, true, nil
}

const leaseIsFree = `SELECT l.expires_at < clock_timestamp() OR e.broker_id = $1 FROM controller_lease l, controller_epoch e`

func takeOver(ctx context.Context, tx pgx.Tx, id metadata.BrokerID, epoch int64, ttl time.Duration) error {
	if _, err := tx.Exec(ctx, `UPDATE controller_epoch SET epoch = $1, broker_id = $2`, epoch, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE controller_lease SET epoch = $1, expires_at = clock_timestamp() + $2`, epoch, ttl); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, freshSessions); err != nil {
		return err
	}
	_, err := nextVersion(ctx, tx)
	return err
}

// freshSessions gives every broker a full session from now.
const freshSessions = `UPDATE broker_lease SET expires_at = greatest(expires_at, clock_timestamp() + ttl)
	WHERE broker_id IN (SELECT broker_id FROM broker WHERE NOT fenced)`

// RenewController extends the lease by ttl from now; ok false: another broker has taken over. A lease that ran out
// without a successor goes on, but means that nobody could renew anything: the brokers get full sessions as after a
// takeover.
func (s *Store) RenewController(ctx context.Context, epoch int64, ttl time.Duration) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err = s.transact(ctx, s.leases, brokerOp("renew controller"), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		var expired bool
		err := tx.QueryRow(ctx, `SELECT expires_at < clock_timestamp() FROM controller_lease WHERE epoch = $1 FOR UPDATE`, epoch).Scan(&expired)
		if errors.Is(err, pgx.ErrNoRows) {
			ok = false
			return errRollback
		}
		if err != nil {
			return err
		}
		if expired {
			if _, err := tx.Exec(ctx, freshSessions); err != nil {
				return err
			}
		}
		ok = true
		_, err = tx.Exec(ctx, `UPDATE controller_lease SET expires_at = clock_timestamp() + $1`, ttl)
		return err
	})
	return ok && err == nil, err
}

// releaseController gives the role back when broker id holds it. It locks controller_epoch either way: it is the first
// in the order of locks.
func releaseController(ctx context.Context, tx pgx.Tx, id metadata.BrokerID) error {
	var holder metadata.BrokerID
	if err := tx.QueryRow(ctx, `SELECT broker_id FROM controller_epoch FOR UPDATE`).Scan(&holder); err != nil || holder != id {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE controller_epoch SET epoch = epoch + 1, broker_id = -1`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE controller_lease SET epoch = epoch + 1, expires_at = '-infinity'`)
	return err
}

// fenceController fails with NOT_CONTROLLER unless epoch is in force and its lease has not run out, and keeps a
// takeover out until the transaction ends.
func fenceController(ctx context.Context, tx pgx.Tx, epoch int64) error {
	var live bool
	err := tx.QueryRow(ctx, `SELECT l.expires_at > clock_timestamp() FROM controller_epoch e, controller_lease l
		WHERE e.epoch = $1 FOR SHARE OF e`, epoch).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && !live) {
		return fmt.Errorf("%w: controller epoch %d is no longer in force", kerr.NotController, epoch)
	}
	return err
}

// ControllerPass does the controller's duties once: it fences one broker whose session has expired, elects leaders
// for the partitions that need one and assigns the coordinator shards of absent owners. It returns how many things it
// changed; call it again at once while that is not zero. NOT_CONTROLLER: the epoch is over.
func (s *Store) ControllerPass(ctx context.Context, controllerEpoch int64) (changed int, err error) {
	duties := []func(context.Context, pgx.Tx) (int, error){fenceExpired, s.electMissing, assignShards}
	for _, duty := range duties {
		err := s.change(ctx, adminOp("controller pass"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
			if err := fenceController(ctx, tx, controllerEpoch); err != nil {
				return false, err
			}
			n, err := duty(ctx, tx)
			changed += n
			return n > 0, err
		})
		if err != nil {
			return 0, err
		}
	}
	return changed, nil
}

// fenceExpired fences one broker whose session has run out. One at a time, as Kafka does: if all look dead, it is
// more likely that nobody could renew.
func fenceExpired(ctx context.Context, tx pgx.Tx) (int, error) {
	var id metadata.BrokerID
	err := tx.QueryRow(ctx, `SELECT broker_id FROM broker_lease JOIN broker USING (broker_id)
		WHERE NOT fenced AND expires_at < clock_timestamp() ORDER BY expires_at LIMIT 1`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	brokers, err := readBrokers(ctx, tx, `FOR UPDATE`)
	if err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, `UPDATE broker SET fenced = true WHERE broker_id = $1 AND NOT fenced AND EXISTS
		(SELECT FROM broker_lease WHERE broker_id = $1 AND expires_at < clock_timestamp())`, id)
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	brokers[id].Fenced = true
	return 1, takeAway(ctx, tx, id, brokers, false)
}

// electMissing elects leaders where there is none that can lead.
func (s *Store) electMissing(ctx context.Context, tx pgx.Tx) (int, error) {
	brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
	if err != nil {
		return 0, err
	}
	unclean, err := s.uncleanTopics(ctx, tx)
	if err != nil {
		return 0, err
	}
	elect := func(p *metadata.Partition) *metadata.Partition {
		return metadata.Elect(p, brokers, metadata.KeepLeader, unclean(p.TopicID))
	}
	// First without locks: most leaderless partitions stay so, and must not hide others behind the limit.
	var topics []metadata.TopicID
	var indexes []int32
	where := `WHERE leader = -1 OR leader <> ALL ($1) ORDER BY topic_id, partition`
	err = readPartitions(ctx, tx, where, []any{liveIDs(brokers)}, func(p *metadata.Partition) error {
		if elect(p) != p && len(topics) < passLimit {
			topics, indexes = append(topics, p.TopicID), append(indexes, p.TopicPartition.Partition)
		}
		return nil
	})
	if err != nil || len(topics) == 0 {
		return 0, err
	}
	locked, err := lockPartitions(ctx, tx, `WHERE (topic_id, partition) IN (SELECT * FROM unnest($1::uuid[], $2::int[]))`, topics, indexes)
	if err != nil {
		return 0, err
	}
	var changed []*metadata.Partition
	for _, p := range locked {
		if next := elect(p); next != p {
			changed = append(changed, next)
		}
	}
	return len(changed), savePartitions(ctx, tx, changed)
}

func liveIDs(brokers map[metadata.BrokerID]*metadata.Broker) []int32 {
	ids := []int32{}
	for id, b := range brokers {
		if !b.Fenced && !b.InShutdown {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

const uncleanSetting = "unclean.leader.election.enable"

// uncleanTopics returns the rule for which topics may elect uncleanly.
func (s *Store) uncleanTopics(ctx context.Context, tx pgx.Tx) (func(metadata.TopicID) bool, error) {
	im := &metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{}, ByName: map[string]*metadata.Topic{},
		BrokerConfigs: map[metadata.BrokerID]map[string]string{}}
	for _, read := range []func(context.Context, querier, *metadata.Image) error{readTopics, readTopicConfigs, readBrokerConfigs} {
		if err := read(ctx, tx, im); err != nil {
			return nil, err
		}
	}
	return func(id metadata.TopicID) bool {
		overrides := map[string]string{}
		if t := im.Topics[id]; t != nil {
			overrides = t.Configs
		}
		if s.cfg.Unclean != nil {
			return s.cfg.Unclean(overrides)
		}
		if v, set := overrides[uncleanSetting]; set {
			return v == "true"
		}
		return im.BrokerConfigs[metadata.NoBroker][uncleanSetting] == "true"
	}, nil
}

// assignShards gives the coordinator shards to the live brokers.
func assignShards(ctx context.Context, tx pgx.Tx) (int, error) {
	brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
	if err != nil {
		return 0, err
	}
	live := brokerIDs(liveIDs(brokers))
	shards, err := readShards(ctx, tx)
	if err != nil || slices.Equal(shards, metadata.AssignShards(shards, live)) {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `SELECT FROM coordinator_shard WHERE kind = 'group' ORDER BY shard FOR UPDATE`); err != nil {
		return 0, err
	}
	if shards, err = readShards(ctx, tx); err != nil {
		return 0, err
	}
	next := metadata.AssignShards(shards, live)
	batch := &pgx.Batch{}
	for i := range next {
		if next[i] != shards[i] {
			batch.Queue(`UPDATE coordinator_shard SET owner = $2, epoch = $3 WHERE kind = 'group' AND shard = $1`, i, next[i].Owner, next[i].Epoch)
		}
	}
	return batch.Len(), tx.SendBatch(ctx, batch).Close()
}
