package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Listen calls changed with every version that is announced, one call at a time, and first with the version in force
// when it began to listen. It blocks until ctx ends (nil) or the connection is lost. Announcements may be missed or
// merged: a poll of Version stays necessary.
func (s *Store) Listen(ctx context.Context, changed func(version int64)) error {
	o := brokerOp("listen for metadata changes")
	conn, err := pgx.ConnectConfig(ctx, s.conn.Copy())
	if err != nil {
		return o.wrap(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+notifyChannel); err != nil {
		return o.wrap(err)
	}
	var v int64
	if err := conn.QueryRow(ctx, `SELECT v FROM meta_version`).Scan(&v); err != nil {
		return o.wrap(err)
	}
	for {
		changed(v)
		n, err := conn.WaitForNotification(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return o.wrap(err)
		}
		if v, err = strconv.ParseInt(n.Payload, 10, 64); err != nil {
			return o.wrap(err)
		}
	}
}
