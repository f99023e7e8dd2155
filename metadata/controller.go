package metadata

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	controllerLease = 3 * time.Second // decisions 4
	controllerRenew = time.Second
	dutiesInterval  = time.Second
	// passesInARow bounds how long duties goes on without looking at anything else.
	passesInARow = 100
)

// Controllers is how brokers compete for the controller's role and what its holder does. Implemented by
// metadata/postgres.
type Controllers interface {
	AcquireController(ctx context.Context, id BrokerID, ttl time.Duration) (epoch int64, ok bool, err error)
	RenewController(ctx context.Context, epoch int64, ttl time.Duration) (ok bool, err error)
	ControllerPass(ctx context.Context, controllerEpoch int64) (changed int, err error)
}

// controllerLoop is the controller's side of a Node. Renewing and working are two goroutines, so that a long pass does
// not cost the lease.
type controllerLoop struct {
	cfg      NodeConfig
	gauge    prometheus.Gauge
	epoch    atomic.Int64  // 0: not the controller. lease raises it, both may clear it
	newImage chan struct{} // capacity 1
	elected  chan struct{} // capacity 1
}

func newControllerLoop(cfg NodeConfig, gauge prometheus.Gauge) *controllerLoop {
	return &controllerLoop{cfg: cfg, gauge: gauge, newImage: make(chan struct{}, 1), elected: make(chan struct{}, 1)}
}

// lease holds or seeks the role until ctx ends.
func (c *controllerLoop) lease(ctx context.Context) {
	tick := time.NewTicker(controllerRenew)
	defer tick.Stop()
	for {
		if epoch := c.epoch.Load(); epoch != 0 {
			ok, err := c.cfg.Controllers.RenewController(ctx, epoch, controllerLease)
			c.observe(ctx, err)
			if err == nil && !ok {
				c.stepDown(epoch, "another broker has taken over")
			}
		}
		if c.epoch.Load() == 0 {
			c.seek(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *controllerLoop) seek(ctx context.Context) {
	epoch, ok, err := c.cfg.Controllers.AcquireController(ctx, c.cfg.Registration.ID, controllerLease)
	c.observe(ctx, err)
	if err != nil || !ok {
		return
	}
	c.epoch.Store(epoch)
	c.gauge.Set(1)
	c.cfg.Logger.Info("this broker is the controller", "controllerEpoch", epoch)
	signal(c.elected)
}

func (c *controllerLoop) stepDown(epoch int64, why string) {
	if c.epoch.CompareAndSwap(epoch, 0) {
		c.gauge.Set(0)
		c.cfg.Logger.Info("this broker is no longer the controller", "controllerEpoch", epoch, "why", why)
	}
}

// duties runs passes while this broker is the controller: at once when elected or when the metadata changes, and every
// second for what only time changes.
func (c *controllerLoop) duties(ctx context.Context) {
	tick := time.NewTicker(dutiesInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.newImage:
		case <-c.elected:
		}
		c.pass(ctx)
	}
}

func (c *controllerLoop) pass(ctx context.Context) {
	for range passesInARow {
		epoch := c.epoch.Load()
		if epoch == 0 || ctx.Err() != nil {
			return
		}
		changed, err := c.cfg.Controllers.ControllerPass(ctx, epoch)
		c.observe(ctx, err)
		switch {
		case err == nil && changed > 0:
			continue
		case errors.Is(err, kerr.NotController) && !unavailable(err):
			c.stepDown(epoch, err.Error())
		case err != nil && !unavailable(err) && ctx.Err() == nil:
			c.cfg.Logger.Error("controller pass failed", "err", err)
		}
		return
	}
}

func (c *controllerLoop) observe(ctx context.Context, err error) {
	if ctx.Err() == nil {
		c.cfg.Publisher.outage.observe(err, time.Now())
	}
}
