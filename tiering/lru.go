package tiering

import (
	"container/list"
	"sync"
)

// An lru keeps values in the order of their last use and knows their weight. It bounds nothing itself, and is not safe for concurrent use.
type lru[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of *lruEntry, most recently used first
	weight  int64
}

type lruEntry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

// get returns the value of k and makes it the most recently used.
func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// put sets the value of k and makes it the most recently used.
func (l *lru[K, V]) put(k K, v V, weight int64) {
	l.remove(k)
	if l.entries == nil {
		l.entries = map[K]*list.Element{}
	}
	l.entries[k] = l.order.PushFront(&lruEntry[K, V]{k, v, weight})
	l.weight += weight
}

// remove takes k out and returns its value.
func (l *lru[K, V]) remove(k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil {
		return v, false
	}
	delete(l.entries, k)
	entry := l.order.Remove(e).(*lruEntry[K, V])
	l.weight -= entry.weight
	return entry.value, true
}

// evict takes out the least recently used.
func (l *lru[K, V]) evict() {
	if e := l.order.Back(); e != nil {
		l.remove(e.Value.(*lruEntry[K, V]).key)
	}
}

func (l *lru[K, V]) has(k K) bool { return l.entries[k] != nil }
func (l *lru[K, V]) len() int     { return len(l.entries) }

// A cache is an lru of a bounded weight, safe for concurrent use. What was put last is always there: who fetched it comes back for it.
type cache[K comparable, V any] struct {
	capacity int64

	mu struct {
		sync.Mutex
		lru[K, V]
	}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.get(k)
}

func (c *cache[K, V]) put(k K, v V, weight int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.put(k, v, weight)
	for c.mu.weight > c.capacity && c.mu.len() > 1 {
		c.mu.evict()
	}
}
