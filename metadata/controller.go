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
	// seekMargin after the end of another's lease is when it is sought.
	seekMargin = 20 * time.Millisecond
	// dutiesInterval is how often the controller looks for work that nothing told it of.
	dutiesInterval = 30 * time.Second
	// passesInARow bounds how long duties goes on without looking at anything else.
	passesInARow = 100
	// passRetry is the pause after a pass that failed.
	passRetry = time.Second
)

// Controllers is how brokers compete for the controller's role and what its holder does. Implemented by
// metadata/postgres.
type Controllers interface {
	ControllerLease(ctx context.Context, id BrokerID) (held time.Duration, version int64, err error)
	AcquireController(ctx context.Context, id BrokerID, ttl time.Duration) (epoch int64, ok bool, err error)
	RenewController(ctx context.Context, epoch int64, ttl time.Duration) (Renewal, error)
	ControllerPass(ctx context.Context, controllerEpoch int64) (changed int, err error)
	ElectLeaders(ctx context.Context, kind ElectionType, tps []TopicPartition) ([]error, error)
}

// Renewal is what the controller learns when it renews its lease.
type Renewal struct {
	Held           bool  // false: the epoch is over, and the rest means nothing
	SessionExpired bool  // a broker has to be fenced
	Version        int64 // of the metadata
}

// controllerLoop is the controller's side of a Node. Renewing and working are two goroutines, so that a long pass does
// not cost the lease.
type controllerLoop struct {
	cfg     NodeConfig
	gauge   prometheus.Gauge
	epoch   atomic.Int64  // 0: not the controller. lease raises it, both may clear it
	retired atomic.Bool   // does not seek the role any more
	work    chan struct{} // capacity 1: there may be something to do
	vacant  chan struct{} // capacity 1: the role may be free
}

func newControllerLoop(cfg NodeConfig, gauge prometheus.Gauge) *controllerLoop {
	return &controllerLoop{cfg: cfg, gauge: gauge, work: make(chan struct{}, 1), vacant: make(chan struct{}, 1)}
}

// onImage sees whether the cluster has a controller, and whether it has work.
func (c *controllerLoop) onImage(im *Image) {
	if im.Controller == NoBroker {
		signal(c.vacant)
	}
	if NeedsController(im) {
		signal(c.work)
	}
}

// lease holds or seeks the role until ctx ends. A broker that seeks looks again when the lease that it saw must have
// been renewed, so that it finds out at once when it was not, and asks little.
func (c *controllerLoop) lease(ctx context.Context) {
	for {
		pause := controllerRenew
		if epoch := c.epoch.Load(); epoch != 0 {
			c.renew(ctx, epoch)
		}
		if c.epoch.Load() == 0 {
			pause = c.seek(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.vacant:
		case <-time.After(pause):
		}
	}
}

func (c *controllerLoop) renew(ctx context.Context, epoch int64) {
	r, err := c.cfg.Controllers.RenewController(ctx, epoch, controllerLease)
	c.observe(ctx, err)
	switch {
	case err != nil:
	case !r.Held:
		c.stepDown(epoch, "another broker has taken over, or this one was suspected dead")
	default:
		c.cfg.Publisher.Heard(r.Version)
		if r.SessionExpired {
			signal(c.work)
		}
	}
}

// seek becomes the controller if nobody is, and returns when to try again.
func (c *controllerLoop) seek(ctx context.Context) (pause time.Duration) {
	if c.retired.Load() {
		return controllerLease
	}
	held, version, err := c.cfg.Controllers.ControllerLease(ctx, c.cfg.Registration.ID)
	c.observe(ctx, err)
	if err != nil {
		return controllerRenew
	}
	c.cfg.Publisher.Heard(version)
	if held > 0 {
		return min(held, controllerLease) + seekMargin
	}
	epoch, ok, err := c.cfg.Controllers.AcquireController(ctx, c.cfg.Registration.ID, controllerLease)
	c.observe(ctx, err)
	if err != nil || !ok {
		return controllerRenew // another one is faster, or a pass still runs
	}
	c.epoch.Store(epoch)
	c.gauge.Set(1)
	c.cfg.Logger.Info("this broker is the controller", "controllerEpoch", epoch)
	signal(c.work)
	return controllerRenew
}

// retire ends the role for good; the store gives it to others.
func (c *controllerLoop) retire() {
	c.retired.Store(true)
	if epoch := c.epoch.Load(); epoch != 0 {
		c.stepDown(epoch, "this broker is shutting down")
	}
}

func (c *controllerLoop) stepDown(epoch int64, why string) {
	if c.epoch.CompareAndSwap(epoch, 0) {
		c.gauge.Set(0)
		c.cfg.Logger.Info("this broker is no longer the controller", "controllerEpoch", epoch, "why", why)
	}
}

// duties runs passes while this broker is the controller: at once when it is elected, when a session has run out and
// when the metadata shows something to do, and balances the leaders from time to time.
func (c *controllerLoop) duties(ctx context.Context) {
	tick := time.NewTicker(dutiesInterval)
	defer tick.Stop()
	var balance <-chan time.Time
	if c.cfg.Balance.Interval > 0 {
		t := time.NewTicker(c.cfg.Balance.Interval)
		defer t.Stop()
		balance = t.C
	}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.work:
		case <-again:
		case <-balance:
			c.balance(ctx)
			continue
		}
		again = nil
		if !c.pass(ctx) {
			again = time.After(passRetry)
		}
	}
}

// pass works until there is nothing to do; false: it could not finish.
func (c *controllerLoop) pass(ctx context.Context) (done bool) {
	for range passesInARow {
		epoch := c.epoch.Load()
		if epoch == 0 || ctx.Err() != nil {
			return true
		}
		changed, err := c.cfg.Controllers.ControllerPass(ctx, epoch)
		c.observe(ctx, err)
		switch {
		case err == nil && changed == 0:
			return true
		case err == nil:
			continue
		case errors.Is(err, kerr.NotController) && !unavailable(err):
			c.stepDown(epoch, err.Error())
			signal(c.vacant)
			return true
		case !unavailable(err) && ctx.Err() == nil:
			c.cfg.Logger.Error("controller pass failed", "err", err)
		}
		return false
	}
	return false
}

// balance gives leadership back to the preferred leaders of brokers that lead too little, if this broker is the
// controller.
func (c *controllerLoop) balance(ctx context.Context) {
	for c.epoch.Load() != 0 && ctx.Err() == nil {
		tps := Imbalanced(c.cfg.Publisher.Image(), c.cfg.Balance.Percentage, electionsPerBalance)
		if len(tps) == 0 {
			return
		}
		errs, err := c.cfg.Controllers.ElectLeaders(ctx, ElectPreferred, tps)
		c.observe(ctx, err)
		if err != nil {
			if !unavailable(err) && ctx.Err() == nil {
				c.cfg.Logger.Error("balancing the leaders failed", "err", err)
			}
			return
		}
		moved := 0
		for _, err := range errs {
			if err == nil {
				moved++
			}
		}
		c.cfg.Logger.Info("preferred leaders elected", "partitions", moved)
		if len(tps) < electionsPerBalance || moved == 0 || c.cfg.Publisher.Refresh(ctx) != nil {
			return
		}
	}
}

func (c *controllerLoop) observe(ctx context.Context, err error) {
	if ctx.Err() == nil {
		c.cfg.Publisher.outage.observe(err, time.Now())
	}
}
