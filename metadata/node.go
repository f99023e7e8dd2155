package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	defaultHeartbeatInterval = 2 * time.Second // broker.heartbeat.interval.ms
	defaultSessionTimeout    = 9 * time.Second // broker.session.timeout.ms
	heartbeatRetry           = 500 * time.Millisecond
	joinRetry                = 500 * time.Millisecond
	// leaseMargin covers the difference of clock speeds between this broker and Postgres.
	leaseMargin = 500 * time.Millisecond
)

// Membership is how a broker is a member of the cluster. Implemented by metadata/postgres.
type Membership interface {
	Register(ctx context.Context, r Registration) (BrokerEpoch, error)
	Heartbeat(ctx context.Context, id BrokerID, epoch BrokerEpoch, applied int64, ttl time.Duration) (fenced bool, err error)
	BeginShutdown(ctx context.Context, id BrokerID, epoch BrokerEpoch) error
	Unregister(ctx context.Context, id BrokerID, epoch BrokerEpoch) error
	FenceSuspect(ctx context.Context, s Suspicion) (fenced bool, err error)
}

// NodeConfig of a Node.
type NodeConfig struct {
	Registration      Registration
	Membership        Membership
	Controllers       Controllers
	Publisher         *Publisher
	HeartbeatInterval time.Duration // default 2 s
	SessionTimeout    time.Duration // default 9 s
	// Probe looks how a suspected broker is. It returns within ctx. nil: no suspicion is ever confirmed.
	Probe      func(ctx context.Context, b *Broker) Vital
	Balance    Balance
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Balance is how leadership returns to preferred leaders.
type Balance struct {
	Interval   time.Duration // leader.imbalance.check.interval.seconds; 0: never
	Percentage int           // leader.imbalance.per.broker.percentage
}

// Node is this broker's life in the cluster: it registers, keeps its session, tries to be the controller and does the
// controller's duties while it is, and takes its leave. It survives any outage of the store: it then keeps what it
// had, and tries again.
type Node struct {
	cfg        NodeConfig
	metrics    nodeMetrics
	controller *controllerLoop
	suspicions *suspicions
	dirs       *dirs

	epoch      atomic.Int64
	fenced     atomic.Bool
	leaseUntil atomic.Pointer[time.Time] // monotonic
	newImage   chan struct{}             // capacity 1
}

// NewNode returns a Node. It adds a callback to cfg.Publisher, so it must be made before Publisher.Run.
func NewNode(cfg NodeConfig) *Node {
	if cfg.HeartbeatInterval == 0 {
		cfg.HeartbeatInterval = defaultHeartbeatInterval
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = defaultSessionTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{cfg: cfg, newImage: make(chan struct{}, 1)}
	n.metrics = newNodeMetrics(cfg.Registerer, n.offlinePartitions)
	n.controller = newControllerLoop(cfg, n.metrics.controller)
	n.suspicions = newSuspicions(n)
	n.dirs = newDirs(cfg.Registration.Dirs)
	n.fenced.Store(true)
	n.metrics.fenced.Set(1)
	cfg.Publisher.OnImage(func(im *Image) {
		signal(n.newImage)
		n.controller.onImage(im)
	})
	return n
}

// Epoch is the broker epoch of the current registration, 0 before Join.
func (n *Node) Epoch() BrokerEpoch { return BrokerEpoch(n.epoch.Load()) }

// Fenced reports whether this broker was not an active member at its last heartbeat.
func (n *Node) Fenced() bool { return n.fenced.Load() }

// IsController reports whether this broker believes to be the controller.
func (n *Node) IsController() bool { return n.controller.epoch.Load() != 0 }

// offlinePartitions counts the partitions without a leader if this broker is the controller.
func (n *Node) offlinePartitions() float64 {
	if n.controller == nil || !n.IsController() {
		return 0
	}
	offline := 0
	for _, t := range n.cfg.Publisher.Image().Topics {
		for _, p := range t.Partitions {
			if p.Leader == NoBroker {
				offline++
			}
		}
	}
	return float64(offline)
}

// LeaseValid reports whether this broker's session surely lasts at now, by the monotonic clock and without asking
// anyone. Coordinators answer reads from memory only while it does (decisions 1).
func (n *Node) LeaseValid(now time.Time) bool {
	until := n.leaseUntil.Load()
	return until != nil && now.Before(*until)
}

// Join registers this broker and returns when it is an active member. It waits while the store is away, and while a
// broker with the same id has a live session; any other refusal is returned. Publisher.Run must be running.
func (n *Node) Join(ctx context.Context) error {
	for warned := false; ; {
		err := n.register(ctx, n.registration())
		if err == nil {
			break
		}
		duplicate := errors.Is(err, kerr.DuplicateBrokerRegistration)
		if !duplicate && !unavailable(err) {
			return err
		}
		if duplicate && !warned {
			warned = true
			n.cfg.Logger.Warn("waiting for the session of another process with this broker id to end", "err", err)
		}
		if sleep(ctx, jitter(joinRetry)); ctx.Err() != nil {
			return fmt.Errorf("join the cluster: %w (last: %w)", ctx.Err(), err)
		}
	}
	for {
		// The heartbeat must show that this broker has seen its own registration.
		err := n.cfg.Publisher.Refresh(ctx)
		if err == nil {
			err = n.beat(ctx)
		}
		if err == nil && !n.Fenced() {
			n.cfg.Logger.Info("joined the cluster", "broker", n.cfg.Registration.ID, "epoch", n.Epoch())
			return nil
		}
		if err != nil && !unavailable(err) && ctx.Err() == nil {
			return err
		}
		if sleep(ctx, jitter(joinRetry)); ctx.Err() != nil {
			return fmt.Errorf("join the cluster: %w", ctx.Err())
		}
	}
}

func (n *Node) register(ctx context.Context, r Registration) error {
	epoch, err := n.cfg.Membership.Register(ctx, r)
	n.observe(ctx, err)
	if err == nil {
		n.epoch.Store(int64(epoch))
	}
	return err
}

// observe tells the outage detector, unless it is only that we are stopping.
func (n *Node) observe(ctx context.Context, err error) {
	if ctx.Err() == nil {
		n.cfg.Publisher.outage.observe(err, time.Now())
	}
}

// Run keeps the session, looks into suspicions and does the controller's work until ctx ends. Call it after Join, and
// Leave after it.
func (n *Node) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { n.heartbeats(ctx) })
	wg.Go(func() { n.suspicions.run(ctx) })
	wg.Go(func() { n.amend(ctx) })
	wg.Go(func() { n.controller.lease(ctx) })
	wg.Go(func() { n.controller.duties(ctx) })
	wg.Wait()
}

// Retire is the beginning of a controlled shutdown, before the listeners close: what others can lead or own goes to
// them, and when Retire returns this broker's image shows it. Run must still be running. ctx bounds it.
func (n *Node) Retire(ctx context.Context) error {
	n.controller.retire()
	err := n.cfg.Membership.BeginShutdown(ctx, n.cfg.Registration.ID, n.Epoch())
	if errors.Is(err, kerr.StaleBrokerEpoch) {
		return nil // as in Leave
	}
	if err != nil {
		return err
	}
	return n.cfg.Publisher.Refresh(ctx)
}

// Leave is the end of a controlled shutdown: what this broker alone can lead is given up too, and its registration
// shows that it ended cleanly. Call it when Run has returned and the logs are closed. ctx bounds it.
func (n *Node) Leave(ctx context.Context) error {
	n.fenced.Store(true)
	n.metrics.fenced.Set(1)
	err := n.cfg.Membership.Unregister(ctx, n.cfg.Registration.ID, n.Epoch())
	if errors.Is(err, kerr.StaleBrokerEpoch) {
		return nil // another process has taken over: nothing of ours is left
	}
	return err
}

func (n *Node) heartbeats(ctx context.Context) {
	next := time.NewTimer(n.cfg.HeartbeatInterval)
	defer next.Stop()
	var wasLive bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-n.newImage:
			live := n.shownLive()
			if wasLive && !live { // not so while the image has yet to show what the last heartbeat did
				n.setFenced(true)
			}
			wasLive = live
			if !n.Fenced() {
				continue // only a fenced broker has something to gain from haste
			}
		}
		pause := n.cfg.HeartbeatInterval
		if err := n.beatOrRejoin(ctx); err != nil || n.Fenced() {
			pause = jitter(heartbeatRetry)
		}
		next.Reset(pause)
	}
}

// shownLive reports whether the image shows this broker as an active member. When it no longer does, others have fenced
// it: it lives, and says so.
func (n *Node) shownLive() bool {
	b := n.cfg.Publisher.Image().Brokers[n.cfg.Registration.ID]
	return b != nil && b.Epoch == n.Epoch() && !b.Fenced
}

// beatOrRejoin sends a heartbeat; with its epoch gone the broker registers again.
func (n *Node) beatOrRejoin(ctx context.Context) error {
	err := n.beat(ctx)
	if !errors.Is(err, kerr.StaleBrokerEpoch) || unavailable(err) {
		return err
	}
	n.setFenced(true)
	n.cfg.Logger.Error("this broker's registration was replaced: is another process running with its id?", "err", err)
	again := n.registration()
	again.Rejoin = true
	if err := n.register(ctx, again); err != nil {
		return err
	}
	return n.cfg.Publisher.Refresh(ctx)
}

func (n *Node) beat(ctx context.Context) error {
	sent := time.Now()
	fenced, err := n.cfg.Membership.Heartbeat(ctx, n.cfg.Registration.ID, n.Epoch(), n.cfg.Publisher.Image().Version, n.cfg.SessionTimeout)
	n.observe(ctx, err)
	if err != nil {
		return err
	}
	until := sent.Add(n.cfg.SessionTimeout - leaseMargin)
	n.leaseUntil.Store(&until)
	n.setFenced(fenced)
	return nil
}

func (n *Node) setFenced(fenced bool) {
	if n.fenced.Swap(fenced) == fenced {
		return
	}
	n.metrics.fenced.Set(map[bool]float64{true: 1}[fenced])
	if fenced {
		n.cfg.Logger.Warn("this broker has been fenced: it leads nothing until its session is back")
	} else {
		n.cfg.Logger.Info("this broker is active")
	}
}
