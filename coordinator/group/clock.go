package group

import (
	"errors"
	"sync"
	"time"
)

// freshness is how recently Postgres must have answered before deadlines may take effect.
const freshness = 2 * time.Second

// clock is the time of the machines. It stands still while Postgres is away, so that no session expires and no
// rebalance begins then, and afterwards goes on where it stood: every deadline is put off by the length of the outage.
type clock struct {
	mu struct {
		sync.Mutex
		lost     time.Duration // total length of past outages
		frozenAt time.Time     // real; zero: not frozen
		heard    time.Time     // real: when Postgres last answered
	}
}

// now never goes back.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.frozenAt.IsZero() {
		return c.mu.frozenAt.Add(-c.mu.lost)
	}
	return time.Now().Add(-c.mu.lost)
}

// frozen reports whether Postgres is known to be away.
func (c *clock) frozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.mu.frozenAt.IsZero()
}

// confirmed reports whether Postgres answered so recently that deadlines may take effect.
func (c *clock) confirmed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.frozenAt.IsZero() && time.Since(c.mu.heard) < freshness
}

// observe takes the result of a call to the store.
func (c *clock) observe(err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case unavailable(err):
		if c.mu.frozenAt.IsZero() {
			c.mu.frozenAt = now
		}
		return
	case !c.mu.frozenAt.IsZero():
		c.mu.lost += now.Sub(c.mu.frozenAt)
		c.mu.frozenAt = time.Time{}
	}
	c.mu.heard = now
}

// unavailable reports whether err says that the store could not be reached, as opposed to its having said no.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
}
