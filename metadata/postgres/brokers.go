package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// firstSession is a broker's session from its registration to its first heartbeat: Kafka's default.
const firstSession = 9 * time.Second

// registrationLock is the advisory lock of Register; it comes before all row locks. The number has no meaning.
const registrationLock = 0x76617276_0001

// Register makes a broker known, see metadata.CheckRegistration for when it is refused. A new process gets a new
// epoch, is fenced until its first heartbeat that has applied that epoch, and leads nothing: in the same transaction
// its partitions get other leaders, or none, and its coordinator shards lose their owner. If the process before it did
// not take its leave (Unregister), it is in sync and eligible only where nobody else can lead, until it has caught up.
func (s *Store) Register(ctx context.Context, r metadata.Registration) (metadata.BrokerEpoch, error) {
	var epoch metadata.BrokerEpoch
	err := s.update(ctx, brokerOp("register broker"), func(ctx context.Context, tx pgx.Tx) error {
		// A broker never seen has no row to lock: registrations go one after another.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, registrationLock); err != nil {
			return err
		}
		brokers, err := readBrokers(ctx, tx, `FOR UPDATE`)
		if err != nil {
			return err
		}
		old, err := readRegistered(ctx, tx, brokers[r.ID])
		if err != nil {
			return err
		}
		kind, err := metadata.CheckRegistration(old, r)
		if err != nil {
			return err
		}
		next := &metadata.Broker{ID: r.ID, Host: r.Host, Port: r.Port, Rack: r.Rack, Dirs: r.Dirs, Fenced: true}
		if kind == metadata.Amend {
			next.Epoch, next.Fenced, next.InShutdown = old.Epoch, old.Fenced, old.InShutdown
		}
		brokers[r.ID] = next
		unclean := kind == metadata.Replace && old != nil && !old.Clean
		if err := s.takeAway(ctx, tx, r.ID, brokers, unclean); err != nil {
			return err
		}
		if kind == metadata.Replace {
			err = takeShards(ctx, tx, r.ID)
		}
		if err != nil {
			return err
		}
		// The epoch is the version of this transaction, so the row is written after meta_version is locked. That
		// keeps the order of locks: the row has been locked above, or is new.
		v, err := nextVersion(ctx, tx)
		if err != nil {
			return err
		}
		if kind == metadata.Replace {
			next.Epoch = metadata.BrokerEpoch(v)
		}
		epoch = next.Epoch
		return saveRegistration(ctx, tx, next, r)
	})
	return epoch, err
}

// readRegistered completes b by what only the database knows. b nil gives nil.
func readRegistered(ctx context.Context, tx pgx.Tx, b *metadata.Broker) (*metadata.Registered, error) {
	if b == nil {
		return nil, nil
	}
	r := &metadata.Registered{Broker: *b}
	err := tx.QueryRow(ctx, `SELECT incarnation, coalesce(l.expires_at > clock_timestamp(), false),
			b.fenced AND b.in_shutdown AND coalesce(l.expires_at = '-infinity', false)
		FROM broker b LEFT JOIN broker_lease l USING (broker_id) WHERE b.broker_id = $1`, b.ID).Scan(&r.Incarnation, &r.LeaseLive, &r.Clean)
	return r, err
}

func saveRegistration(ctx context.Context, tx pgx.Tx, b *metadata.Broker, r metadata.Registration) error {
	_, err := tx.Exec(ctx, `INSERT INTO broker (broker_id, epoch, incarnation, host, port, rack, dirs, fenced, in_shutdown)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (broker_id) DO UPDATE SET epoch = $2, incarnation = $3, host = $4, port = $5, rack = $6, dirs = $7,
			fenced = $8, in_shutdown = $9`,
		b.ID, b.Epoch, r.Incarnation, b.Host, b.Port, b.Rack, b.Dirs, b.Fenced, b.InShutdown)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO broker_lease (broker_id, epoch, ttl, expires_at, applied_version)
		VALUES ($1, $2, $3, clock_timestamp() + $3, -1)
		ON CONFLICT (broker_id) DO UPDATE SET epoch = $2, expires_at = clock_timestamp() + $3, applied_version = -1
		WHERE broker_lease.epoch <> $2`, b.ID, b.Epoch, firstSession)
	return err
}

// Heartbeat renews a broker's session for ttl and tells whether it is fenced. A broker that has applied the version of
// its own registration is unfenced by it. STALE_BROKER_EPOCH: another process has registered as this broker.
func (s *Store) Heartbeat(ctx context.Context, id metadata.BrokerID, epoch metadata.BrokerEpoch, applied int64, ttl time.Duration) (fenced bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	o := brokerOp("heartbeat")
	var inShutdown bool
	err = s.transact(ctx, s.leases, o, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `UPDATE broker_lease l SET ttl = $3, expires_at = clock_timestamp() + $3, applied_version = $4
			FROM broker b WHERE l.broker_id = $1 AND l.epoch = $2 AND b.broker_id = $1
			RETURNING b.fenced, b.in_shutdown`, id, epoch, ttl, applied).Scan(&fenced, &inShutdown)
		return staleIfNone(err, id, epoch)
	})
	if err != nil || !fenced || inShutdown || applied < int64(epoch) {
		return fenced, err
	}
	if err := s.unfence(ctx, o, id, epoch); err != nil {
		return true, err
	}
	return false, nil
}

func (s *Store) unfence(ctx context.Context, o op, id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	return s.transact(ctx, s.leases, o, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE broker SET fenced = false WHERE broker_id = $1 AND epoch = $2 AND NOT in_shutdown`, id, epoch)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return staleIfNone(pgx.ErrNoRows, id, epoch)
		}
		_, err = nextVersion(ctx, tx)
		return err
	})
}

// staleIfNone makes "no such row" of a broker's write what it means.
func staleIfNone(err error, id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: broker %d is no longer registered with epoch %d", kerr.StaleBrokerEpoch, id, epoch)
	}
	return err
}
