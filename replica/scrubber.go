package replica

import (
	"time"

	"golang.org/x/time/rate"
)

// A scrubber reads every local segment once per varve.scrub.interval.ms, at no more than varve.scrub.max.bytes.per.second, so that bytes that rot on the disk
// are found while there is still a copy to repair them from. What it finds, the log remembers (commitlog.Log.Damaged) and tiering repairs.
type scrubber struct{ m *Manager }

// run scrubs until the manager closes. Logs are looked at ten times per interval: a segment waits no longer than that for its turn, the disk allowing. The interval may
// be set meanwhile.
func (s scrubber) run() {
	for last := time.Now(); ; {
		pause := min(s.m.cfg.Broker().ScrubInterval/10, 10*time.Minute)
		select {
		case <-time.After(max(min(pause-time.Since(last), time.Second), 10*time.Millisecond)):
		case <-s.m.ctx.Done():
			return
		}
		if time.Since(last) >= pause {
			s.pass()
			last = time.Now()
		}
	}
}

func (s scrubber) pass() {
	broker := s.m.cfg.Broker()
	due, throttle := time.Now().Add(-broker.ScrubInterval), s.m.throttle(broker.ScrubBytesPerSecond)
	for _, p := range *s.m.partitions.Load() {
		l := p.log.Load()
		if l == nil || p.removed.Load() || p.failed.Load() != nil {
			continue
		}
		if err := l.Scrub(due, throttle); err != nil {
			if s.m.ctx.Err() != nil {
				return
			}
			s.m.cfg.Logger.Warn("a log could not be scrubbed; it has its turn again", "topic", p.topic, "partition", p.key.Partition, "error", err)
		}
	}
}

// throttle waits so that no more than perSecond bytes pass, and ends with an error when the manager closes.
func (m *Manager) throttle(perSecond float64) func(bytes int) error {
	const burst = 4 << 20 // bytes: more than one call tells of, unless a batch is larger
	limit := rate.NewLimiter(rate.Limit(perSecond), burst)
	return func(bytes int) error {
		for bytes > 0 {
			n := min(bytes, burst)
			if err := limit.WaitN(m.ctx, n); err != nil {
				return err
			}
			bytes -= n
		}
		return m.ctx.Err()
	}
}
