package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
)

// UnavailableError says that Postgres could not be asked, or that its answer never came. errors.As finds it; it also
// is (errors.Is) the retriable Kafka error that clients get for the operation while Postgres is away.
type UnavailableError struct {
	Op    string
	Kafka *kerr.Error
	Cause error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s: metadata database unavailable: %v", e.Op, e.Cause)
}

// Unavailable marks the error for packages that do not know this one.
func (e *UnavailableError) Unavailable() bool { return true }

// Unwrap gives the Kafka error before the cause, so that errors.As for *kerr.Error finds it.
func (e *UnavailableError) Unwrap() []error { return []error{e.Kafka, e.Cause} }

// An op names an operation and the Kafka error of its kind while Postgres is away.
type op struct {
	name  string
	kafka *kerr.Error
}

func adminOp(name string) op   { return op{name, kerr.NotController} }
func groupOp(name string) op   { return op{name, kerr.CoordinatorNotAvailable} }
func segmentOp(name string) op { return op{name, kerr.KafkaStorageError} }
func brokerOp(name string) op  { return op{name, kerr.RequestTimedOut} }

// wrap names the operation in err, and makes it an UnavailableError when Postgres was not there.
func (o op) wrap(err error) error {
	if err == nil {
		return nil
	}
	var kafka *kerr.Error
	if !errors.As(err, &kafka) && (unavailable(err) || retriable(err)) {
		return &UnavailableError{Op: o.name, Kafka: o.kafka, Cause: err}
	}
	return fmt.Errorf("%s: %w", o.name, err)
}

// unavailable tells the failures of reaching Postgres from the failures that Postgres reports.
func unavailable(err error) bool {
	if state := sqlState(err); state != "" {
		switch {
		case strings.HasPrefix(state, "08"), // connection exception
			strings.HasPrefix(state, "57"), // shutdown, starting up, statement timeout
			strings.HasPrefix(state, "53"), // too many connections, disk full
			state == "25006",               // read only: a standby, not the primary
			state == "25P03":               // idle in transaction timeout
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || isConnectionLost(err)
}
