package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
)

// connect opens a connection of the test's own, to look and interfere behind the Store's back.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, sql string, args ...any) {
	t.Helper()
	rows, err := q.Query(t.Context(), sql, args...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		t.Fatal(sql, err)
	}
}

// wantKafka checks that err is the Kafka error want, nil for none.
func wantKafka(t *testing.T, err error, want *kerr.Error) {
	t.Helper()
	var got *kerr.Error
	if errors.As(err, &got); got != want || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// awaitWaiting waits until n connections to the test's database wait for locks.
func awaitWaiting(t *testing.T, url string, n int) {
	t.Helper()
	conn := connect(t, url)
	await(t, "connections wait for locks", func() bool {
		var waiting int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		return waiting >= n
	})
}
