package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	defaultMaxConns = 4 // decisions 23

	connectTimeout   = 2 * time.Second
	leaseTimeout     = 2 * time.Second // of a heartbeat or a renewal, below the controller's lease
	operationTimeout = 6 * time.Second // of any other method, retries included
)

// sessionSettings keep a paused or slow broker from holding a row lock: milliseconds, except the name.
var sessionSettings = map[string]string{
	"application_name":                    "varve",
	"lock_timeout":                        "2000",
	"statement_timeout":                   "5000",
	"idle_in_transaction_session_timeout": "5000",
	"tcp_user_timeout":                    "5000",
}

// Store is the cluster's state in Postgres. All methods are safe for concurrent use. Client-visible failures are
// *kerr.Error wrapped.
type Store struct {
	cfg    Config
	conn   *pgx.ConnConfig // for connections outside the pools: LISTEN
	work   *pgxpool.Pool
	leases *pgxpool.Pool // one connection, for heartbeats and renewals alone
	images *pgxpool.Pool // one connection, for Load and Version alone: news never waits behind work that waits for locks
}

// Config of a Store.
type Config struct {
	URL      string // varve.metadata.url, postgres://...
	MaxConns int32  // at most, default 4, at least 2; two more are opened, for LISTEN and for images
	Logger   *slog.Logger
	// Unclean says whether a topic with these overrides allows unclean leader elections
	// (unclean.leader.election.enable), given this broker's defaults. nil: what the overrides or the cluster's dynamic
	// default say, else not.
	Unclean func(topicOverrides map[string]string) bool
	// MinISR is min.insync.replicas of a topic with these overrides (only that one is given), given this broker's
	// defaults. nil: what the overrides say, else 1.
	MinISR func(topicOverrides map[string]string) int
}

// Open connects. It does not migrate (see Migrate). When Postgres cannot be reached it fails at once.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.MinISR == nil {
		cfg.MinISR = minISROverride
	}
	s := &Store{cfg: cfg}
	var err error
	if s.work, err = newPool(ctx, cfg.URL, max(cfg.MaxConns-1, 1)); err != nil {
		return nil, err
	}
	if s.leases, err = newPool(ctx, cfg.URL, 1); err != nil {
		s.work.Close()
		return nil, err
	}
	if s.images, err = newPool(ctx, cfg.URL, 1); err != nil {
		s.work.Close()
		s.leases.Close()
		return nil, err
	}
	s.conn = s.work.Config().ConnConfig
	if err := s.work.Ping(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect to the metadata database: %w", err)
	}
	return s, nil
}

func newPool(ctx context.Context, url string, conns int32) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("varve.metadata.url: %w", err)
	}
	pc.MaxConns = conns
	pc.ConnConfig.ConnectTimeout = connectTimeout
	// Asking an idle connection whether it works is a round trip and a transaction of its own: begin finds out anyway.
	pc.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	for name, value := range sessionSettings {
		if _, set := pc.ConnConfig.RuntimeParams[name]; !set {
			pc.ConnConfig.RuntimeParams[name] = value
		}
	}
	return pgxpool.NewWithConfig(ctx, pc)
}

// Close closes all connections and waits for the calls that use them.
func (s *Store) Close() {
	s.work.Close()
	s.leases.Close()
	s.images.Close()
}

// SQLSTATEs that this package tells apart.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	exclusionViolation   = "23P01"
)

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// retriable reports whether Postgres rolled the transaction back for its own reasons: trying again is safe and useful.
func retriable(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlockDetected, lockNotAvailable:
		return true
	}
	return false
}
