package postgres_test

import (
	"fmt"
	"sync"
	"testing"

	"varve/internal/testpg"
	"varve/metadata/postgres"
	"varve/migrations"
)

func TestMigrateUpAndDown(t *testing.T) {
	url := testpg.EmptyURL(t)
	migrate := func(direction string, want int) {
		t.Helper()
		if got, err := postgres.Migrate(t.Context(), url, direction); err != nil || got != want {
			t.Fatalf("%s: version %d, %v; want %d", direction, got, err, want)
		}
	}
	tables := func() (n int) {
		t.Helper()
		err := connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	migrate("version", 0)
	migrate("down", 0)
	for range 2 {
		migrate("up", migrations.Version)
		migrate("up", migrations.Version)
		led(t, openURL(t, url))
		for v := migrations.Version - 1; v >= 0; v-- {
			migrate("down", v)
		}
		if n := tables(); n != 0 {
			t.Errorf("%d tables left", n)
		}
	}
	if _, err := postgres.Migrate(t.Context(), url, "sideways"); err == nil {
		t.Error("no error for a direction that does not exist")
	}
}

func TestMigrateInterrupted(t *testing.T) {
	for name, prepare := range map[string]string{
		"before its transaction": `DROP TABLE IF EXISTS schema_migrations`,
		"after its transaction":  `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			url := testpg.EmptyURL(t)
			if name == "after its transaction" {
				url = testpg.URL(t)
			}
			conn := connect(t, url)
			exec(t, conn, prepare)
			exec(t, conn, `CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)`)
			exec(t, conn, fmt.Sprintf(`INSERT INTO schema_migrations VALUES (%d, true) ON CONFLICT (version) DO UPDATE SET dirty = true`, migrations.Version))
			if got, err := postgres.Migrate(t.Context(), url, "up"); err != nil || got != migrations.Version {
				t.Fatal(got, err)
			}
			led(t, openURL(t, url))
		})
	}
}

// Several brokers start at once on an empty database: each waits for the one that migrates, and does not take its
// half-done work for an interrupted one.
func TestBrokersMigrateTogether(t *testing.T) {
	for range 5 {
		url := testpg.EmptyURL(t)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if got, err := postgres.Migrate(t.Context(), url, "up"); err != nil || got != migrations.Version {
					t.Error(got, err)
				}
			})
		}
		wg.Wait()
	}
}
