package postgres

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

type brokersByID = map[metadata.BrokerID]*metadata.Broker

// BeginShutdown is the beginning of a controlled shutdown: in one transaction the broker gives up the leaderships that
// others in sync can have, leaves the ISRs that have such another, gives up its coordinator shards, and is no
// longer the controller. It stays unfenced: it leads what only it can lead, and its replicas can be fetched from, until
// Unregister. Repeating it is harmless. STALE_BROKER_EPOCH when another process has taken over.
func (s *Store) BeginShutdown(ctx context.Context, id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	return s.leave(ctx, brokerOp("begin shutdown"), id, epoch, func(tx pgx.Tx, b *metadata.Broker) error {
		b.InShutdown = true
		_, err := tx.Exec(ctx, `UPDATE broker SET in_shutdown = true WHERE broker_id = $1`, id)
		return err
	})
}

// Unregister is the end of a controlled shutdown: as BeginShutdown, and the broker is fenced; what only it can lead has
// no leader from now on. Its registration stays, so that its partitions wait for it, with the mark of a clean end: a
// session that ended at '-infinity'. STALE_BROKER_EPOCH when another process has taken over.
func (s *Store) Unregister(ctx context.Context, id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	return s.leave(ctx, brokerOp("unregister broker"), id, epoch, func(tx pgx.Tx, b *metadata.Broker) error {
		b.Fenced, b.InShutdown = true, true
		if _, err := tx.Exec(ctx, `UPDATE broker SET fenced = true, in_shutdown = true WHERE broker_id = $1`, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE broker_lease SET expires_at = '-infinity' WHERE broker_id = $1`, id)
		return err
	})
}

// leave marks a broker of this epoch and takes away what it then cannot have.
func (s *Store) leave(ctx context.Context, o op, id metadata.BrokerID, epoch metadata.BrokerEpoch, mark func(pgx.Tx, *metadata.Broker) error) error {
	return s.change(ctx, o, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if err := releaseController(ctx, tx, id); err != nil {
			return false, err
		}
		brokers, err := readBrokers(ctx, tx, `FOR UPDATE`)
		if err != nil {
			return false, err
		}
		b := brokers[id]
		if b == nil || b.Epoch != epoch {
			return false, staleIfNone(pgx.ErrNoRows, id, epoch)
		}
		if err := mark(tx, b); err != nil {
			return false, err
		}
		return true, s.takeEverything(ctx, tx, id, brokers)
	})
}

// FenceSuspect fences another broker of which broker by knows that it has died, without the controller and before its
// session has run out: in one transaction the suspect loses its session, leaderships, places in ISRs, coordinator
// shards and the controller's role. To be wrong costs it a heartbeat, with which it comes back. fenced false: there was
// nothing to do, because by is not live, or the suspect is not, is shutting down, has another epoch, or has been heard of.
func (s *Store) FenceSuspect(ctx context.Context, x metadata.Suspicion) (fenced bool, err error) {
	suspect := x.Suspect
	stands := func(brokers brokersByID) bool {
		return x.By != suspect && liveWith(brokers[x.By], x.ByEpoch) && liveWith(brokers[suspect], x.Epoch)
	}
	err = s.change(ctx, brokerOp("fence a suspect"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		fenced = false
		// First without locks: all brokers suspect the same one at the same time.
		brokers, err := readBrokers(ctx, tx, ``)
		if err != nil || !stands(brokers) {
			return false, err
		}
		if heard, err := heardOf(ctx, tx, suspect, x.Unheard); err != nil || heard {
			return false, err
		}
		if err := releaseController(ctx, tx, suspect); err != nil {
			return false, err
		}
		brokers, err = readBrokers(ctx, tx, `FOR UPDATE`)
		if err != nil || !stands(brokers) {
			return false, cmp.Or(err, errRollback)
		}
		brokers[suspect].Fenced = true
		if _, err := tx.Exec(ctx, `UPDATE broker SET fenced = true WHERE broker_id = $1`, suspect); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, `UPDATE broker_lease SET expires_at = clock_timestamp() WHERE broker_id = $1`, suspect); err != nil {
			return false, err
		}
		fenced = true
		return true, s.takeEverything(ctx, tx, suspect, brokers)
	})
	return fenced && err == nil, err
}

// heardOf reports whether a broker has sent a heartbeat within the time given, 0: it does not matter.
func heardOf(ctx context.Context, tx pgx.Tx, id metadata.BrokerID, within time.Duration) (heard bool, err error) {
	if within == 0 {
		return false, nil
	}
	err = tx.QueryRow(ctx, `SELECT expires_at - ttl > clock_timestamp() - $2::interval FROM broker_lease WHERE broker_id = $1`, id, within).Scan(&heard)
	return heard, err
}

func liveWith(b *metadata.Broker, epoch metadata.BrokerEpoch) bool {
	return b != nil && b.Epoch == epoch && !b.Fenced && !b.InShutdown
}

// takeEverything takes from broker id what brokers (locked) say that it cannot have, and its coordinator shards.
func (s *Store) takeEverything(ctx context.Context, tx pgx.Tx, id metadata.BrokerID, brokers brokersByID) error {
	if err := s.takeAway(ctx, tx, id, brokers, false); err != nil {
		return err
	}
	return takeShards(ctx, tx, id)
}

// takeAway moves leadership and in-sync membership away from broker id, where brokers (locked) say that it cannot have
// them. unclean: it is a new process, and the one before it did not take its leave.
func (s *Store) takeAway(ctx context.Context, tx pgx.Tx, id metadata.BrokerID, brokers brokersByID, unclean bool) error {
	partitions, err := lockPartitions(ctx, tx, `WHERE replicas @> ARRAY[$1::int]`, id)
	if err != nil {
		return err
	}
	minISR, err := s.minISR(ctx, tx, partitions)
	if err != nil {
		return err
	}
	var changed []*metadata.Partition
	for _, p := range partitions {
		if !lost(p, id, brokers) {
			continue
		}
		if next := metadata.WithoutBroker(p, id, brokers, minISR(p.TopicID), unclean); next != p {
			changed = append(changed, next)
		}
	}
	return savePartitions(ctx, tx, changed)
}

// takeShards takes the coordinator shards that broker id owns away from it.
func takeShards(ctx context.Context, tx pgx.Tx, id metadata.BrokerID) error {
	_, err := tx.Exec(ctx, `UPDATE coordinator_shard SET owner = -1, epoch = epoch + 1 WHERE owner = $1`, id)
	return err
}

// lost reports that broker id cannot hold its part of p.
func lost(p *metadata.Partition, id metadata.BrokerID, brokers map[metadata.BrokerID]*metadata.Broker) bool {
	for i, r := range p.Replicas {
		if r == id {
			return !metadata.Electable(p, i, brokers)
		}
	}
	return false
}
