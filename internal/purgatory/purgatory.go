// Package purgatory parks requests until something they watch has changed enough, or their time is up
// (Kafka's DelayedOperationPurgatory). Waiting is a blocked goroutine; a touch wakes only those that watch the key.
package purgatory

import (
	"context"
	"sync"
	"time"
)

// Purgatory holds waiters by key. The zero value is ready. Its mutex is a leaf: no callback runs under it.
type Purgatory[K comparable] struct {
	mu struct {
		sync.Mutex
		waiters map[K]map[*waiter]struct{}
		count   int
	}
}

// A waiter is one Await. Its channel holds one pending wake-up, so a touch during a check is not lost.
type waiter struct{ wake chan struct{} }

// Await returns true as soon as check does. check runs at once, and again after every Touch of a key, on the caller's goroutine.
// It returns false when timeout has passed or ctx ended, after one last check.
func (p *Purgatory[K]) Await(ctx context.Context, timeout time.Duration, keys []K, check func() bool) bool {
	if check() {
		return true
	}
	if timeout <= 0 {
		return false
	}
	w := &waiter{make(chan struct{}, 1)}
	p.add(w, keys)
	defer p.remove(w, keys)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		if check() { // also before the first wait: what happened before w was added woke nobody
			return true
		}
		select {
		case <-w.wake:
		case <-timer.C:
			return check()
		case <-ctx.Done():
			return check()
		}
	}
}

// Touch wakes the waiters of key. It never blocks.
func (p *Purgatory[K]) Touch(key K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.mu.waiters[key] {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Len is the number of waiters.
func (p *Purgatory[K]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.count
}

func (p *Purgatory[K]) add(w *waiter, keys []K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.waiters == nil {
		p.mu.waiters = map[K]map[*waiter]struct{}{}
	}
	p.mu.count++
	for _, k := range keys {
		if p.mu.waiters[k] == nil {
			p.mu.waiters[k] = map[*waiter]struct{}{}
		}
		p.mu.waiters[k][w] = struct{}{}
	}
}

func (p *Purgatory[K]) remove(w *waiter, keys []K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.count--
	for _, k := range keys {
		if delete(p.mu.waiters[k], w); len(p.mu.waiters[k]) == 0 {
			delete(p.mu.waiters, k)
		}
	}
}
