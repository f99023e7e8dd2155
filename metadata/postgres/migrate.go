package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"varve/migrations"
)

// Migrate brings the schema of the database at url to the newest version ("up"), takes the newest step back ("down"),
// or only looks ("version"), and returns the version then in force, 0 for none. Several at once are serialised by a
// lock in the database. A migration that was interrupted is taken up again: each is one transaction, so it has
// happened or it has not.
func Migrate(ctx context.Context, url, direction string) (version int, err error) {
	cc, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, fmt.Errorf("varve.metadata.url: %w", err)
	}
	cc.ConnectTimeout = connectTimeout
	db := stdlib.OpenDB(*cc)
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		return 0, fmt.Errorf("connect to the metadata database: %w", err)
	}
	unlock, err := lockMigrations(ctx, db)
	if err != nil {
		return 0, fmt.Errorf("migrate: wait for another migration to end: %w", err)
	}
	defer unlock()
	m, err := newMigrator(db)
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	defer func() { _, _ = m.Close() }()
	if err := mend(ctx, db, m); err != nil {
		return 0, fmt.Errorf("migrate: take up an interrupted migration: %w", err)
	}
	switch direction {
	case "up":
		err = m.Up()
	case "down":
		if v, _, versionErr := m.Version(); versionErr == nil && v > 0 {
			err = m.Steps(-1)
		}
	case "version":
	default:
		return 0, fmt.Errorf("migrate: direction %q is none of up, down, version", direction)
	}
	if err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return 0, fmt.Errorf("migrate %s: %w", direction, err)
	}
	v, _, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) {
		return 0, nil
	}
	return int(v), err
}

// migrationLock is the advisory lock of Migrate. The number has no meaning.
const migrationLock = 0x76617276_0002

// lockMigrations waits until no other Migrate works on the database. golang-migrate's own lock does not cover mend,
// which must not take a migration that is going on for one that was interrupted.
func lockMigrations(ctx context.Context, db *sql.DB) (unlock func(), err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
		_ = conn.Close()
	}, nil
}

func newMigrator(db *sql.DB) (*migrate.Migrate, error) {
	source, err := iofs.New(migrations.Files, ".")
	if err != nil {
		return nil, err
	}
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return nil, err
	}
	return migrate.NewWithInstance("embedded", source, "pgx5", driver)
}

// mend resolves golang-migrate's dirty mark by what the migrations themselves recorded.
func mend(ctx context.Context, db *sql.DB, m *migrate.Migrate) error {
	_, dirty, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) || (err == nil && !dirty) {
		return nil
	}
	if err != nil {
		return err
	}
	var table *string
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('schema_applied')::text`).Scan(&table); err != nil {
		return err
	}
	if table == nil {
		return m.Force(-1)
	}
	var applied int
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version), -1) FROM schema_applied`).Scan(&applied); err != nil {
		return err
	}
	return m.Force(applied)
}
