package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	pollInterval   = time.Second     // while no notifications can be heard
	hearInterval   = 3 * time.Second // behind the notifications: the connection may be half open
	reconnectPause = time.Second     // mean pause before LISTEN is tried again
	deliveryWait   = 2 * time.Second // of Refresh for the callbacks
)

// Source is where images come from. Implemented by metadata/postgres.
type Source interface {
	// Load reads the state as of now: all of it when prev is nil, else what has changed since prev, an image that
	// Load returned before, was loaded; the rest is shared with prev. ErrReload: prev is no base for that.
	Load(ctx context.Context, prev *Image) (*Image, error)
	Version(ctx context.Context) (int64, error)
	// Listen calls changed with the version in force once it listens, and with every version announced from then on.
	Listen(ctx context.Context, changed func(version int64)) error
}

// ErrReload is Load's when only loading everything tells what has changed: the state went back, the database is another
// one or was restarted, or what was found does not fit.
var ErrReload = errors.New("the metadata has to be read in full")

// Publisher keeps this broker's Image current: it listens for announcements, polls behind them, and swaps in the next
// image. While the source is away the last image stays. It never goes back: a source that shows an older version than
// was applied, or another cluster, has lost something, and is refused with an alarm until it has caught up.
type Publisher struct {
	source  Source
	logger  *slog.Logger
	metrics publisherMetrics
	outage  *outage
	image   atomic.Pointer[Image]

	onImage   []func(*Image) // fixed before Run
	announced atomic.Int64   // highest version heard of
	wake      chan struct{}  // capacity 1: announced grew
	hearing   atomic.Bool    // the connection of LISTEN is there, as far as is known
	heard     atomic.Int64   // see Heard; 0: nothing since the last poll
	refresh   chan chan error
	// doubt is set when the connection that hears announcements was lost or is new: in between, the database may have
	// become another one, so that what changed since the last load cannot be told.
	doubt atomic.Bool

	// Owned by the loading goroutine.
	base    *Image // the last one that was loaded and not refused; nil: the next load is a full one
	refused bool   // an alarm is on

	delivery struct {
		sync.Mutex
		version int64         // callbacks have seen it
		changed chan struct{} // closed and replaced when version grows
	}
	published chan struct{} // capacity 1: image is new
}

// NewPublisher returns a Publisher with an empty image of version -1. logger may be nil, reg too.
func NewPublisher(source Source, logger *slog.Logger, reg prometheus.Registerer) *Publisher {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{
		source:    source,
		logger:    logger,
		metrics:   newPublisherMetrics(reg),
		wake:      make(chan struct{}, 1),
		refresh:   make(chan chan error),
		published: make(chan struct{}, 1),
	}
	p.outage = &outage{logger: logger, gauge: p.metrics.outage}
	p.announced.Store(-1)
	p.delivery.version, p.delivery.changed = -1, make(chan struct{})
	p.image.Store(&Image{Version: -1, Controller: NoBroker})
	return p
}

// OnImage adds a callback for new images. All callbacks run on one goroutine, in version order; versions that pass
// quickly may be skipped, and one comes twice if its content differs after all. Topics that are the same in the image of the call before are the same pointers (see Image).
// Call it before Run. A callback must not call Refresh.
func (p *Publisher) OnImage(f func(*Image)) { p.onImage = append(p.onImage, f) }

// Image returns the current image, never nil.
func (p *Publisher) Image() *Image { return p.image.Load() }

// Refresh loads the state as of now, so that this broker sees what it has just written. The image is current when it
// returns; it also waits a moment for the callbacks, so that a client's next request finds its partition.
func (p *Publisher) Refresh(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case p.refresh <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryWait)
	defer cancel()
	p.awaitDelivery(ctx, p.Image().Version)
	return nil
}

func (p *Publisher) awaitDelivery(ctx context.Context, version int64) {
	for {
		p.delivery.Lock()
		seen, changed := p.delivery.version, p.delivery.changed
		p.delivery.Unlock()
		if seen >= version {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Run keeps the image current until ctx ends. It must run for Refresh to work.
func (p *Publisher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { p.listen(ctx) })
	wg.Go(func() { p.deliver(ctx) })
	wg.Go(func() { p.load(ctx) })
	wg.Wait()
}

// listen hears announcements, over and over.
func (p *Publisher) listen(ctx context.Context) {
	for ctx.Err() == nil {
		listening := false
		err := p.source.Listen(ctx, func(v int64) {
			p.outage.observe(nil, time.Now())
			if !listening {
				listening = true
				p.hearing.Store(true)
				p.doubt.Store(true)
				signal(p.wake)
			}
			if v > p.announced.Load() { // only this goroutine stores
				p.announced.Store(v)
				signal(p.wake)
			}
		})
		p.hearing.Store(false)
		if listening {
			p.doubt.Store(true)
		}
		if ctx.Err() == nil {
			p.outage.observe(err, time.Now())
		}
		sleep(ctx, jitter(reconnectPause))
	}
}

// load is the only writer of the image.
func (p *Publisher) load(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	polled := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case done := <-p.refresh:
			p.loadFor(ctx, done)
		case <-p.wake:
			if p.doubt.Load() || p.announced.Load() > p.Image().Version {
				_ = p.loadOnce(ctx) // observed there; the poll tries again
			}
		case <-tick.C:
			if p.hearing.Load() && time.Since(polled) < hearInterval {
				continue
			}
			polled = time.Now()
			v, err := p.poll(ctx)
			if ctx.Err() != nil {
				return
			}
			p.outage.observe(err, time.Now())
			if err == nil && v != p.Image().Version {
				_ = p.loadOnce(ctx)
			}
		}
	}
}

// loadFor answers done, and all who asked before the load began, with one load.
func (p *Publisher) loadFor(ctx context.Context, done chan error) {
	waiting := []chan error{done}
	for more := true; more; {
		select {
		case d := <-p.refresh:
			waiting = append(waiting, d)
		default:
			more = false
		}
	}
	err := p.loadOnce(ctx)
	for _, d := range waiting {
		d <- err // capacity 1
	}
}

func (p *Publisher) loadOnce(ctx context.Context) error {
	started := time.Now()
	im, err := p.loadNext(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.outage.observe(err, time.Now())
	if err != nil {
		return err
	}
	p.metrics.loads.Observe(time.Since(started).Seconds())
	return p.publish(im)
}

// loadNext loads from the last image if there is no reason for doubt.
func (p *Publisher) loadNext(ctx context.Context) (*Image, error) {
	if p.doubt.Swap(false) {
		p.base = nil
	}
	if p.base != nil {
		im, err := p.source.Load(ctx, p.base)
		if !errors.Is(err, ErrReload) {
			return im, err
		}
		p.logger.Info("reading all metadata again", "reason", err)
		p.base = nil
	}
	im, err := p.source.Load(ctx, nil)
	if err != nil {
		return nil, err
	}
	p.metrics.fullLoads.Inc()
	im.share(p.Image())
	return im, nil
}

// publish swaps the image unless that would be a step back.
func (p *Publisher) publish(im *Image) error {
	current := p.Image()
	if err := follows(current, im); err != nil {
		p.base = nil
		p.metrics.regressed.Set(1)
		if !p.refused {
			p.refused = true
			p.logger.Error("ALARM: refusing the metadata database's state and keeping the last good one", "err", err)
		}
		return err
	}
	if p.refused {
		p.refused = false
		p.logger.Warn("the metadata database's state is acceptable again", "version", im.Version)
	}
	p.metrics.regressed.Set(0)
	p.base = im // also when there is nothing new: it is the better base
	// The same version with another content: the database lost commits, and made as many others before we looked.
	if im.Version == current.Version && im.same(current) {
		return nil
	}
	p.image.Store(im)
	p.metrics.version.Set(float64(im.Version))
	signal(p.published)
	return nil
}

// RegressionError says that the metadata database is not the one that this broker followed so far: it was restored
// from a backup, failed over with loss, or belongs to another cluster.
type RegressionError struct {
	Applied, Found               int64
	AppliedCluster, FoundCluster uuid.UUID
}

func (e *RegressionError) Error() string {
	if e.AppliedCluster != e.FoundCluster {
		return fmt.Sprintf("the metadata database belongs to cluster %s, this broker to %s", e.FoundCluster, e.AppliedCluster)
	}
	return fmt.Sprintf("the metadata database went back from version %d to %d: it lost commits (restored, or failed over with loss)", e.Applied, e.Found)
}

// follows checks that next is the same cluster at the same version or a later one.
func follows(current, next *Image) error {
	otherCluster := current.ClusterID != uuid.Nil && current.ClusterID != next.ClusterID
	if otherCluster || next.Version < current.Version {
		return &RegressionError{current.Version, next.Version, current.ClusterID, next.ClusterID}
	}
	return nil
}

// deliver calls the callbacks.
func (p *Publisher) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.published:
		}
		im := p.Image()
		for _, f := range p.onImage {
			f(im)
		}
		p.delivery.Lock()
		p.delivery.version = im.Version
		close(p.delivery.changed)
		p.delivery.changed = make(chan struct{})
		p.delivery.Unlock()
	}
}

// signal sets a flag held in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// jitter returns a duration in [d/2, 3d/2).
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
