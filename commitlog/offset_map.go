package commitlog

import (
	"hash/maphash"
	"unsafe"
)

// An offsetMap holds the last offset of each key in bounded memory: open addressing over 128 bits of a keyed hash of the key, not the key itself, as Kafka's
// SkimpyOffsetMap does with MD5. Two keys of one hash would lose the older one's record; with 2^22 keys that happens with a probability below 2^-84, and
// nobody can aim for it without the seeds of this process.
type offsetMap struct {
	seeds  [2]maphash.Seed
	slots  []offsetSlot // a power of two
	used   int
	latest int64 // greatest offset that was put, -1: none
}

type offsetSlot struct {
	hash   [2]uint64
	offset int64 // + 1; 0: free
}

const (
	slotBytes = int64(unsafe.Sizeof(offsetSlot{}))
	// mapLoad is the share of the slots that is used, in tenths.
	mapLoad = 7
)

// newOffsetMap returns a map for up to keys keys, or as many as fit in maxBytes.
func newOffsetMap(maxBytes, keys int64) *offsetMap {
	n := int64(64)
	for n*mapLoad/10 < keys && n*2*slotBytes <= maxBytes {
		n *= 2
	}
	return &offsetMap{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: make([]offsetSlot, n), latest: -1}
}

// full reports whether another key might find no room.
func (m *offsetMap) full() bool { return m.used >= len(m.slots)*mapLoad/10 }

// find returns the slot of key, or the free one where it goes.
func (m *offsetMap) find(key []byte) (*offsetSlot, [2]uint64) {
	h := [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
	mask := uint64(len(m.slots) - 1)
	for i := h[0] & mask; ; i = (i + 1) & mask {
		if s := &m.slots[i]; s.offset == 0 || s.hash == h {
			return s, h
		}
	}
}

// put sets the last offset of key. REQUIRES: not full, or the key is there.
func (m *offsetMap) put(key []byte, offset int64) {
	s, h := m.find(key)
	if s.offset == 0 {
		m.used++
	}
	s.hash, s.offset = h, offset+1
	m.latest = max(m.latest, offset)
}

// get returns the last offset of key, -1 when it was not put.
func (m *offsetMap) get(key []byte) int64 {
	s, _ := m.find(key)
	return s.offset - 1
}
