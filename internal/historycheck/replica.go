package historycheck

import (
	"fmt"

	"varve/commitlog/record"
)

// A Copy is what one replica of a partition holds: its batches by base offset, as bytes.
type Copy struct {
	Name       string // of the replica, for messages
	Start, End int64  // of what it holds; it may hold nothing: Start == End
	Batches    map[int64]record.Batch
}

// NewCopy takes the batches of a replica in the order of their offsets, and checks each batch's own checksum and that they follow one
// another without a gap.
func NewCopy(name string, batches []record.Batch) (Copy, error) {
	c := Copy{Name: name, Batches: map[int64]record.Batch{}}
	for i, b := range batches {
		switch {
		case !b.CheckCRC():
			return c, fmt.Errorf("%s: the batch at offset %d is damaged", name, b.BaseOffset())
		case i == 0:
			c.Start = b.BaseOffset()
		case b.BaseOffset() != c.End:
			return c, fmt.Errorf("%s: offset %d after %d", name, b.BaseOffset(), c.End-1)
		}
		c.End = b.LastOffset() + 1
		c.Batches[b.BaseOffset()] = b
	}
	return c, nil
}

// Replicas judges the copies of one partition: they end at the same offset, hold the same bytes where they overlap, and each holds every
// acknowledged record from its start on, as it was acknowledged. It returns the number of records compared.
func (h *History) Replicas(p int32, copies []Copy) (n int) {
	for _, c := range copies {
		n += h.replica(p, c)
		first := copies[0]
		if c.End != first.End {
			h.Violation("partition %d: %s ends at %d, %s at %d", p, c.Name, c.End, first.Name, first.End)
		}
		for base, b := range c.Batches {
			other, ok := first.Batches[base]
			switch {
			case base < first.Start || base >= first.End:
			case !ok:
				h.Violation("partition %d: %s has a batch at offset %d, %s has none that begins there", p, c.Name, base, first.Name)
			case string(b) != string(other):
				h.Violation("partition %d: the batches at offset %d of %s and %s differ (leader epochs %d and %d)", p, base, c.Name, first.Name, b.LeaderEpoch(), other.LeaderEpoch())
			}
		}
	}
	return n
}

// replica holds one copy against what was acknowledged and read.
func (h *History) replica(p int32, c Copy) (n int) {
	held := map[int64]bool{}
	for base, b := range c.Batches {
		err := b.Walk(0, func(r *record.Record) error {
			n++
			offset := r.Offset(b)
			held[offset] = true
			m, err := Decode(r.Value)
			if err != nil {
				h.Violation("partition %d, offset %d of %s: %v", p, offset, c.Name, err)
				return nil
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.noteLocked(p, h.partitionLocked(p), offset, m, "held by "+c.Name)
			return nil
		})
		if err != nil {
			h.Violation("partition %d: the batch at offset %d of %s: %v", p, base, c.Name, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	missing, one := 0, int64(-1)
	for offset := range h.partitionLocked(p).acked {
		if offset >= c.Start && !held[offset] {
			missing++
			one = offset
		}
	}
	if missing > 0 {
		h.violateLocked("partition %d: %s lacks %d acknowledged records, one at offset %d", p, c.Name, missing, one)
	}
	return n
}
