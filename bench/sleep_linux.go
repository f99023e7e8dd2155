package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepUntil sleeps to within some tens of microseconds: Go's own timers may be a millisecond late on an idle machine, which would be counted as the
// broker's latency.
func sleepUntil(t time.Time) {
	d := time.Until(t)
	if d <= 0 {
		return
	}
	for left := unix.NsecToTimespec(int64(d)); ; {
		if err := unix.Nanosleep(&left, &left); err != unix.EINTR {
			return
		}
	}
}
