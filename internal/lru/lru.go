// Package lru keeps values in the order of their last use and knows their weight.
package lru

import (
	"container/list"
	"sync"
)

// A List keeps values in the order of their last use and sums their weights. It bounds nothing itself, and is not safe for concurrent use. The zero
// value is empty.
type List[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of *entry, most recently used first
	weight  int64
}

type entry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

// Get returns the value of k and makes it the most recently used.
func (l *List[K, V]) Get(k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the value of k and makes it the most recently used.
func (l *List[K, V]) Put(k K, v V, weight int64) {
	l.Remove(k)
	if l.entries == nil {
		l.entries = map[K]*list.Element{}
	}
	l.entries[k] = l.order.PushFront(&entry[K, V]{k, v, weight})
	l.weight += weight
}

// Remove takes k out and returns its value.
func (l *List[K, V]) Remove(k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil {
		return v, false
	}
	delete(l.entries, k)
	old := l.order.Remove(e).(*entry[K, V])
	l.weight -= old.weight
	return old.value, true
}

// Evict takes out the least recently used and returns its key. ok is false when the list is empty.
func (l *List[K, V]) Evict() (k K, ok bool) {
	e := l.order.Back()
	if e == nil {
		return k, false
	}
	k = e.Value.(*entry[K, V]).key
	l.Remove(k)
	return k, true
}

// Oldest returns the least recently used, which is no use of it. ok is false when the list is empty.
func (l *List[K, V]) Oldest() (k K, v V, ok bool) {
	e := l.order.Back()
	if e == nil {
		return k, v, false
	}
	old := e.Value.(*entry[K, V])
	return old.key, old.value, true
}

// Has reports whether k is there, which is no use of it.
func (l *List[K, V]) Has(k K) bool { return l.entries[k] != nil }

// Len is the number of values.
func (l *List[K, V]) Len() int { return len(l.entries) }

// Weight is the sum of the values' weights.
func (l *List[K, V]) Weight() int64 { return l.weight }

// A Cache is a List of a bounded weight, safe for concurrent use. What was put last is always there, whatever it weighs: who fetched it comes back
// for it.
type Cache[K comparable, V any] struct {
	capacity int64

	mu struct {
		sync.Mutex
		List[K, V]
	}
}

// NewCache returns an empty cache whose values weigh at most capacity together.
func NewCache[K comparable, V any](capacity int64) *Cache[K, V] {
	return &Cache[K, V]{capacity: capacity}
}

// Get returns the value of k and makes it the most recently used.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.Get(k)
}

// Put sets the value of k. The least recently used go when there is no room.
func (c *Cache[K, V]) Put(k K, v V, weight int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.Put(k, v, weight)
	for c.mu.Weight() > c.capacity && c.mu.Len() > 1 {
		c.mu.Evict()
	}
}
