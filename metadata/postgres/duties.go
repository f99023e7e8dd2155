package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// passLimit bounds the partitions that one transaction of a controller elects leaders for.
const passLimit = 10_000

// ControllerPass does the controller's duties once: it fences one broker whose session has expired, elects leaders
// for the partitions that need one and assigns the coordinator shards of absent owners. It returns how many things it
// changed; call it again at once while that is not zero. NOT_CONTROLLER: the epoch is over.
func (s *Store) ControllerPass(ctx context.Context, controllerEpoch int64) (changed int, err error) {
	duties := []func(context.Context, pgx.Tx) (int, error){s.fenceExpired, s.electMissing, assignShards}
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
func (s *Store) fenceExpired(ctx context.Context, tx pgx.Tx) (int, error) {
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
	return 1, s.takeAway(ctx, tx, id, brokers, false)
}

// electMissing elects leaders where there is none that can lead.
func (s *Store) electMissing(ctx context.Context, tx pgx.Tx) (int, error) {
	brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
	if err != nil {
		return 0, err
	}
	// First without locks: most leaderless partitions stay so, and must not hide others behind the limit.
	var candidates []*metadata.Partition
	where := `WHERE leader = -1 OR leader <> ALL ($1) ORDER BY topic_id, partition`
	err = readPartitions(ctx, tx, where, []any{liveIDs(brokers)}, func(p *metadata.Partition) error {
		candidates = append(candidates, p)
		return nil
	})
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	unclean, err := s.uncleanTopics(ctx, tx)
	if err != nil {
		return 0, err
	}
	minISR, err := s.minISR(ctx, tx, candidates)
	if err != nil {
		return 0, err
	}
	elect := func(p *metadata.Partition) *metadata.Partition {
		return metadata.Elect(p, brokers, metadata.KeepLeader, unclean(p.TopicID), minISR(p.TopicID))
	}
	var electable []metadata.TopicPartition
	for _, p := range candidates {
		if elect(p) != p && len(electable) < passLimit {
			electable = append(electable, p.TopicPartition)
		}
	}
	if len(electable) == 0 {
		return 0, nil
	}
	locked, err := lockSome(ctx, tx, electable)
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
