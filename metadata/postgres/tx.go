package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// notifyChannel carries meta_version, and nothing else.
const notifyChannel = "varve_meta"

const (
	maxAttempts  = 5
	firstBackoff = 20 * time.Millisecond
)

// errRollback ends a transaction that only validates.
var errRollback = errors.New("validated only")

// errCommitUnknown wraps a failure of COMMIT itself: the transaction may or may not have happened.
type errCommitUnknown struct{ error }

func (e errCommitUnknown) Unwrap() error { return e.error }

// oneMoment is for transactions whose reads all belong to one moment.
var oneMoment = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// view runs f in one REPEATABLE READ transaction: all that it reads belongs to one moment.
func (s *Store) view(ctx context.Context, o op, f func(context.Context, pgx.Tx) error) error {
	return s.transact(ctx, s.work, o, oneMoment, f)
}

// update runs f in one READ COMMITTED transaction. f may run several times.
func (s *Store) update(ctx context.Context, o op, f func(context.Context, pgx.Tx) error) error {
	return s.transact(ctx, s.work, o, pgx.TxOptions{}, f)
}

// change is update for what an Image shows: when f reports a change, meta_version grows and the brokers are told.
func (s *Store) change(ctx context.Context, o op, f func(context.Context, pgx.Tx) (changed bool, err error)) error {
	return s.update(ctx, o, func(ctx context.Context, tx pgx.Tx) error {
		changed, err := f(ctx, tx)
		if err != nil || !changed {
			return err
		}
		_, err = nextVersion(ctx, tx)
		return err
	})
}

// nextVersion increments meta_version and arranges for the notification at COMMIT. Nothing may be locked after it.
func nextVersion(ctx context.Context, tx pgx.Tx) (int64, error) {
	var v int64
	err := tx.QueryRow(ctx, `UPDATE meta_version SET v = v + 1 RETURNING v`).Scan(&v)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `SELECT pg_notify($1, $2)`, notifyChannel, strconv.FormatInt(v, 10))
	return v, err
}

func (s *Store) transact(ctx context.Context, pool *pgxpool.Pool, o op, opts pgx.TxOptions, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	err := retry(ctx, func() error { return once(ctx, pool, opts, f) })
	if errors.Is(err, errRollback) {
		return nil
	}
	return o.wrap(err)
}

func once(ctx context.Context, pool *pgxpool.Pool, opts pgx.TxOptions, f func(context.Context, pgx.Tx) error) error {
	tx, err := begin(ctx, pool, opts)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no effect after Commit
	if err := f(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return errCommitUnknown{err}
	}
	return nil
}

// begin starts a transaction. A pool may hand out connections that died with an earlier Postgres: as nothing has
// happened yet, it is asked again until it has to make a new one.
func begin(ctx context.Context, pool *pgxpool.Pool, opts pgx.TxOptions) (pgx.Tx, error) {
	for stale := int32(0); ; stale++ {
		tx, err := pool.BeginTx(ctx, opts)
		if err == nil || stale >= pool.Config().MaxConns || !isConnectionLost(err) {
			return tx, err
		}
	}
}

// retry repeats f while Postgres asks for it, with jittered pauses.
func retry(ctx context.Context, f func() error) error {
	for attempt, pause := 1, firstBackoff; ; attempt, pause = attempt+1, pause*2 {
		err := f()
		if err == nil || !retriable(err) || attempt == maxAttempts {
			return err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return fmt.Errorf("%w, giving up after %d attempts: %w", ctx.Err(), attempt, err)
		}
	}
}

// isConnectionLost reports that a connection which once worked broke.
func isConnectionLost(err error) bool {
	var netErr net.Error
	state := sqlState(err)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &netErr) || strings.HasPrefix(state, "57P") || strings.HasPrefix(state, "08") ||
		state == "" && strings.Contains(err.Error(), "conn closed")
}
