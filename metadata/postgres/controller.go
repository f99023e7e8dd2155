package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// AcquireController makes broker id the controller for ttl when no other broker holds the lease: ok false when one does,
// or when another is trying at this moment. A lease of the same broker is an earlier process's. A new controller knows
// nothing of how long the brokers have been silent (Postgres may have been away), so every unfenced broker gets a full
// session first.
func (s *Store) AcquireController(ctx context.Context, id metadata.BrokerID, ttl time.Duration) (epoch int64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err = s.transact(ctx, s.leases, brokerOp("acquire controller"), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		ok = false
		// First without locks, which a working controller would have to wait for.
		if held, err := leaseOfOthers(ctx, tx, id, ``); err != nil || held > 0 {
			return cmp.Or(err, errRollback)
		}
		err := tx.QueryRow(ctx, `SELECT epoch FROM controller_epoch FOR UPDATE SKIP LOCKED`).Scan(&epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return errRollback
		}
		if err != nil {
			return err
		}
		if held, err := leaseOfOthers(ctx, tx, id, `FOR UPDATE OF l`); err != nil || held > 0 {
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

// ControllerLease tells for how long from now another broker than id holds the controller's lease; 0: AcquireController
// may succeed. It also returns the version in force.
func (s *Store) ControllerLease(ctx context.Context, id metadata.BrokerID) (held time.Duration, version int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err = s.transact(ctx, s.leases, brokerOp("controller lease"), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) (err error) {
		if held, err = leaseOfOthers(ctx, tx, id, ``); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT v FROM meta_version`).Scan(&version)
	})
	return held, version, err
}

// leaseOfOthers returns for how long another broker than id holds the controller's lease, 0 when it is free.
func leaseOfOthers(ctx context.Context, tx pgx.Tx, id metadata.BrokerID, locking string) (time.Duration, error) {
	var ms int64
	err := tx.QueryRow(ctx, `SELECT CASE WHEN l.expires_at < clock_timestamp() OR e.broker_id = $1 THEN 0
		ELSE 1 + (1000 * extract(epoch FROM l.expires_at - clock_timestamp()))::bigint END
		FROM controller_lease l, controller_epoch e `+locking, id).Scan(&ms)
	return time.Duration(ms) * time.Millisecond, err
}

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

// RenewController extends the lease by ttl from now, if epoch is still in force. A lease that ran out without a
// successor goes on, but means that nobody could renew anything: the brokers get full sessions as after a takeover.
func (s *Store) RenewController(ctx context.Context, epoch int64, ttl time.Duration) (metadata.Renewal, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	var r metadata.Renewal
	err := s.transact(ctx, s.leases, brokerOp("renew controller"), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		r = metadata.Renewal{}
		var expired bool
		err := tx.QueryRow(ctx, `SELECT l.expires_at < clock_timestamp(), v, EXISTS (SELECT FROM broker_lease b JOIN broker USING (broker_id)
				WHERE NOT fenced AND b.expires_at < clock_timestamp())
			FROM controller_lease l, meta_version WHERE epoch = $1 FOR UPDATE OF l`, epoch).Scan(&expired, &r.Version, &r.SessionExpired)
		if errors.Is(err, pgx.ErrNoRows) {
			return errRollback
		}
		if err != nil {
			return err
		}
		if expired {
			r.SessionExpired = false
			if _, err := tx.Exec(ctx, freshSessions); err != nil {
				return err
			}
		}
		r.Held = true
		_, err = tx.Exec(ctx, `UPDATE controller_lease SET expires_at = clock_timestamp() + $1`, ttl)
		return err
	})
	if err != nil {
		return metadata.Renewal{}, err
	}
	return r, nil
}

// releaseController gives up the role when broker id holds it, so that another can take it at once. It locks
// controller_epoch either way: that and the lease are the first in the order of locks.
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
