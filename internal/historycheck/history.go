package historycheck

import (
	"fmt"
	"sync"
	"time"
)

// maxViolations bounds what a History remembers: a broken broker breaks many rules at once.
const maxViolations = 50

// A History holds what was acknowledged and read, by partition, and the rules that were broken.
type History struct {
	mu struct {
		sync.Mutex
		partitions map[int32]*partition
		violations []string
		acked      int64
	}
}

type partition struct {
	at    map[int64]Message // by offset, acknowledged or read
	acked map[int64]bool    // offsets that were acknowledged
	// ackedEnd is one above the highest acknowledged offset.
	ackedEnd int64
	grouped  map[int64]bool // offsets that a group has read
	lastAck  time.Time      // or of the last Mark
	silence  time.Duration  // the longest between two acknowledgements since the last Mark
	sinceAck int64          // acknowledgements since the last Mark
}

// New makes an empty history.
func New() *History {
	h := &History{}
	h.mu.partitions = map[int32]*partition{}
	return h
}

func (h *History) partitionLocked(p int32) *partition {
	part := h.mu.partitions[p]
	if part == nil {
		part = &partition{at: map[int64]Message{}, acked: map[int64]bool{}, grouped: map[int64]bool{}}
		h.mu.partitions[p] = part
	}
	return part
}

func (h *History) violateLocked(format string, args ...any) {
	if len(h.mu.violations) < maxViolations {
		h.mu.violations = append(h.mu.violations, fmt.Sprintf(format, args...))
	}
}

// Acked notes that the broker acknowledged m at an offset.
func (h *History) Acked(p int32, offset int64, m Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	part := h.partitionLocked(p)
	if part.acked[offset] {
		h.violateLocked("partition %d, offset %d: acknowledged twice, for %v and %v", p, offset, part.at[offset], m)
	}
	h.noteLocked(p, part, offset, m, "acknowledged")
	part.acked[offset] = true
	part.ackedEnd = max(part.ackedEnd, offset+1)
	h.mu.acked++
	now := time.Now()
	if !part.lastAck.IsZero() {
		part.silence = max(part.silence, now.Sub(part.lastAck))
	}
	part.lastAck = now
	part.sinceAck++
}

func (h *History) noteLocked(p int32, part *partition, offset int64, m Message, how string) {
	if before, ok := part.at[offset]; ok && before != m {
		h.violateLocked("partition %d, offset %d: %s %v, but it was %v before", p, offset, how, m, before)
	}
	part.at[offset] = m
}

// AckedCount is the number of acknowledged records, without those that were forgotten.
func (h *History) AckedCount() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.acked
}

// Forget drops what is known of a partition at and above an offset: the caller destroyed it on purpose.
func (h *History) Forget(p int32, from int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	part := h.partitionLocked(p)
	part.ackedEnd = min(part.ackedEnd, from)
	for offset := range part.at {
		if offset >= from {
			if part.acked[offset] {
				h.mu.acked--
			}
			delete(part.at, offset)
			delete(part.acked, offset)
			delete(part.grouped, offset)
		}
	}
}

// Violation notes a broken rule that a caller saw itself.
func (h *History) Violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violateLocked(format, args...)
}

// Violations are the broken rules so far.
func (h *History) Violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.mu.violations...)
}

// A pass is one reading of a partition from front to back; it goes on where it stopped.
type pass struct {
	next  int64            // the offset expected
	begun int64            // where the pass began
	seqs  map[string]int64 // the number expected of each producer
}

// read judges one record of a pass.
func (h *History) read(ps *pass, p int32, offset int64, value []byte) {
	m, err := Decode(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.violateLocked("partition %d, offset %d: %v", p, offset, err)
		return
	}
	if offset != ps.next {
		h.violateLocked("partition %d: offset %d after %d", p, offset, ps.next-1)
	}
	ps.next = offset + 1
	want, known := ps.seqs[m.Producer]
	switch {
	case !known && ps.begun > 0: // the beginning was not read
	case m.Seq < want:
		h.violateLocked("partition %d, offset %d: record %d of %s again or out of order, expected %d", p, offset, m.Seq, m.Producer, want)
	case m.Seq > want:
		h.violateLocked("partition %d, offset %d: record %d of %s, but %d to %d are missing", p, offset, m.Seq, m.Producer, want, m.Seq-1)
	}
	ps.seqs[m.Producer] = m.Seq + 1
	h.noteLocked(p, h.partitionLocked(p), offset, m, "read")
}

// ended judges the end of a pass at the end offset of its partition: it was reached, and nothing acknowledged lies beyond. known is
// where the acknowledgements ended before the end offset was asked for: later ones may well lie beyond.
func (h *History) ended(ps *pass, p int32, end, known int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ps.next != end {
		h.violateLocked("partition %d: read up to offset %d, but it ends at %d", p, ps.next, end)
	}
	missing, first := 0, int64(-1)
	for offset := range h.partitionLocked(p).acked {
		if offset >= end && offset < known {
			missing++
			if first < 0 || offset < first {
				first = offset
			}
		}
	}
	if missing > 0 {
		h.violateLocked("partition %d ends at %d: %d acknowledged records are missing, the first at offset %d", p, end, missing, first)
	}
}

// known is the end of the acknowledged offsets of each partition.
func (h *History) known() map[int32]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := map[int32]int64{}
	for p, part := range h.mu.partitions {
		ends[p] = part.ackedEnd
	}
	return ends
}
