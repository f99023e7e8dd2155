package tiering

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// fillTimeout bounds one read from the bucket or the manifest.
	fillTimeout = 30 * time.Second
	// failurePause is how long a failed fill is answered with its error before it is tried again.
	failurePause = time.Second
	// maxFailures bounds how many failures are remembered.
	maxFailures = 1024
)

// errUnfilled is what a key is told whose read ended without a word about it.
var errUnfilled = fmt.Errorf("%w: the read from the bucket ended before its turn", kerr.KafkaStorageError)

// fills are reads under way, one for each key whoever asks, and detached from those who asked: a client that gives up wastes nothing. What a fill
// brings it stores itself; fills only says when to look again.
type fills[K comparable] struct {
	ctx     context.Context
	running *sync.WaitGroup
	slots   chan struct{} // one per read under way

	mu struct {
		sync.Mutex
		waiting map[K]chan struct{} // closed when the fill has ended
		failed  map[K]failure
	}
}

type failure struct {
	err   error
	until time.Time
}

func newFills[K comparable](ctx context.Context, running *sync.WaitGroup, slots int) *fills[K] {
	f := &fills[K]{ctx: ctx, running: running, slots: make(chan struct{}, slots)}
	f.mu.waiting, f.mu.failed = map[K]chan struct{}{}, map[K]failure{}
	return f
}

// start begins to fill k unless that goes on already, and returns the channel that closes at its end; or the error with which it failed a moment
// ago.
func (f *fills[K]) start(k K, fill func(ctx context.Context) error) (<-chan struct{}, error) {
	_, wait, err := f.startRun([]K{k}, func(ctx context.Context, _ int, done func(int, error)) { done(0, fill(ctx)) })
	return wait, err
}

// startRun is start for several keys that one read fills: the first, and those behind it up to one that is under way or failed a moment ago.
// n is how many these are, 0 when it did not begin; fill is told as well, and calls done for each of them.
func (f *fills[K]) startRun(keys []K, fill func(ctx context.Context, n int, done func(i int, err error))) (n int, first <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done := f.mu.waiting[keys[0]]; done != nil {
		return 0, done, nil
	}
	if err := f.failedLocked(keys[0]); err != nil {
		return 0, nil, err
	}
	n = 1
	for n < len(keys) && f.mu.waiting[keys[n]] == nil && f.failedLocked(keys[n]) == nil {
		n++
	}
	waits := make([]chan struct{}, n)
	for i := range waits {
		waits[i] = make(chan struct{})
		f.mu.waiting[keys[i]] = waits[i]
	}
	f.running.Go(func() { f.run(keys[:n], waits, fill) })
	return n, waits[0], nil
}

func (f *fills[K]) failedLocked(k K) error {
	bad, ok := f.mu.failed[k]
	if ok && !time.Now().Before(bad.until) {
		delete(f.mu.failed, k)
		return nil
	}
	return bad.err
}

// underWay reports whether k is being filled or failed a moment ago.
func (f *fills[K]) underWay(k K) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.waiting[k] != nil || f.failedLocked(k) != nil
}

func (f *fills[K]) run(keys []K, waits []chan struct{}, fill func(ctx context.Context, n int, done func(i int, err error))) {
	select {
	case f.slots <- struct{}{}:
		ctx, cancel := context.WithTimeout(f.ctx, fillTimeout)
		fill(ctx, len(keys), func(i int, err error) { f.end(keys[i], waits[i], err) })
		cancel()
		<-f.slots
	case <-f.ctx.Done():
	}
	for i, k := range keys {
		f.end(k, waits[i], errUnfilled) // unless it has ended
	}
}

// end wakes those who wait for k, once.
func (f *fills[K]) end(k K, wait chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.waiting[k] != wait {
		return // k has ended, and perhaps begun anew
	}
	delete(f.mu.waiting, k)
	if err != nil {
		if len(f.mu.failed) >= maxFailures {
			clear(f.mu.failed)
		}
		f.mu.failed[k] = failure{err, time.Now().Add(failurePause)}
	}
	close(wait)
}
