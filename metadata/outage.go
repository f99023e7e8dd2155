package metadata

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// outage notices when the metadata store cannot be reached, and says so once at the beginning and once at the end,
// however many calls fail in between.
type outage struct {
	logger *slog.Logger
	gauge  interface{ Set(float64) }

	mu struct {
		sync.Mutex
		since time.Time // zero: reachable
	}
}

// unavailable reports whether err says that the store could not be reached, as opposed to its having said no.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
}

// observe takes the result of a call to the store.
func (o *outage) observe(err error, now time.Time) {
	down := unavailable(err)
	o.mu.Lock()
	since := o.mu.since
	switch {
	case down && since.IsZero():
		o.mu.since = now
	case !down:
		o.mu.since = time.Time{}
	}
	o.mu.Unlock()
	switch {
	case down && since.IsZero():
		o.gauge.Set(1)
		o.logger.Warn("metadata database unavailable: produce and fetch go on with what is known; groups, topics and uploads wait", "err", err)
	case !down && !since.IsZero():
		o.gauge.Set(0)
		o.logger.Info("metadata database is back", "after", now.Sub(since).Round(time.Millisecond))
	}
}
