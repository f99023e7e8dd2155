// Package purgatory parks requests until something they watch has changed enough, or their time is up
// (Kafka's DelayedOperationPurgatory). Waiting is a blocked goroutine; a touch wakes only those that watch the key.
package purgatory

// CONTRACT (skeleton). Owner: replica room.

import (
	"context"
	"time"
)

// Purgatory holds waiters by key. The zero value is ready. Its mutex is a leaf: no callback runs under it.
type Purgatory[K comparable] struct{}

// Await returns true as soon as check does. check runs at once, and again after every Touch of a key, on the caller's goroutine.
// It returns false when timeout has passed or ctx ended, after one last check.
func (p *Purgatory[K]) Await(ctx context.Context, timeout time.Duration, keys []K, check func() bool) bool {
	panic("unbuilt")
}

// Touch wakes the waiters of key. It never blocks.
func (p *Purgatory[K]) Touch(key K) { panic("unbuilt") }

// Len is the number of waiters.
func (p *Purgatory[K]) Len() int { panic("unbuilt") }
