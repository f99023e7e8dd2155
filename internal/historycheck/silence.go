package historycheck

import "time"

// Mark begins the measuring of Silences and AckedSince.
func (h *History) Mark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, part := range h.mu.partitions {
		part.lastAck, part.silence, part.sinceAck = time.Now(), 0, 0
	}
}

// Silences are the longest times between two acknowledgements of each partition since Mark, up to now.
func (h *History) Silences() map[int32]time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[int32]time.Duration{}
	for p, part := range h.mu.partitions {
		out[p] = max(part.silence, time.Since(part.lastAck))
	}
	return out
}

// AckedSince is the number of acknowledgements of each partition since Mark.
func (h *History) AckedSince() map[int32]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[int32]int64{}
	for p, part := range h.mu.partitions {
		out[p] = part.sinceAck
	}
	return out
}
