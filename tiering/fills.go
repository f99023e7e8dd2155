package tiering

import (
	"context"
	"sync"
	"time"
)

const (
	// fillTimeout bounds one read from the bucket or the manifest.
	fillTimeout = 30 * time.Second
	// failurePause is how long a failed fill is answered with its error before it is tried again.
	failurePause = time.Second
	// maxFailures bounds how many failures are remembered.
	maxFailures = 1024
)

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
// ago. With ahead it begins only when a slot is free, and may return nil: nobody waits for it.
func (f *fills[K]) start(k K, ahead bool, fill func(ctx context.Context) error) (<-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done := f.mu.waiting[k]; done != nil {
		return done, nil
	}
	if bad, ok := f.mu.failed[k]; ok {
		if time.Now().Before(bad.until) {
			return nil, bad.err
		}
		delete(f.mu.failed, k)
	}
	if ahead {
		select {
		case f.slots <- struct{}{}:
		default:
			return nil, nil
		}
	}
	done := make(chan struct{})
	f.mu.waiting[k] = done
	f.running.Go(func() { f.run(k, done, ahead, fill) })
	return done, nil
}

func (f *fills[K]) run(k K, done chan struct{}, slot bool, fill func(ctx context.Context) error) {
	if !slot {
		select {
		case f.slots <- struct{}{}:
			slot = true
		case <-f.ctx.Done():
		}
	}
	err := f.ctx.Err()
	if err == nil {
		ctx, cancel := context.WithTimeout(f.ctx, fillTimeout)
		err = fill(ctx)
		cancel()
	}
	if slot {
		<-f.slots
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mu.waiting, k)
	if err != nil {
		if len(f.mu.failed) >= maxFailures {
			clear(f.mu.failed)
		}
		f.mu.failed[k] = failure{err, time.Now().Add(failurePause)}
	}
	close(done)
}
