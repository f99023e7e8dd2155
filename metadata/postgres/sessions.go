package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// Sessions is what leases say at one moment, by Postgres's clock. It is for people and tools: a session that has ended does not fence by
// itself.
type Sessions struct {
	Now        time.Time
	Brokers    map[metadata.BrokerID]time.Time // when each broker's session ends, or ended; none of a broker that took its leave
	Controller time.Time                       // when the controller's lease ends, or ended; the epoch of Unix: it was given up
}

// Sessions reads the leases of the brokers and of the controller.
func (s *Store) Sessions(ctx context.Context) (Sessions, error) {
	out := Sessions{Brokers: map[metadata.BrokerID]time.Time{}}
	err := s.view(ctx, brokerOp("sessions"), func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT clock_timestamp(), greatest(expires_at, 'epoch') FROM controller_lease`).Scan(&out.Now, &out.Controller)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT broker_id, greatest(expires_at, 'epoch') FROM broker_lease WHERE isfinite(expires_at)`)
		if err != nil {
			return err
		}
		var id metadata.BrokerID
		var until time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &until}, func() error {
			out.Brokers[id] = until
			return nil
		})
		return err
	})
	return out, err
}
