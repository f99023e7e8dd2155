package purgatory

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestATouchWakesOnlyWhoWatchesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Purgatory[string]
		ready := map[string]bool{}
		checks := map[string]int{}
		done := make(chan string, 2)
		for _, key := range []string{"a", "b"} {
			go func() {
				p.Await(t.Context(), time.Hour, []string{key}, func() bool { checks[key]++; return ready[key] })
				done <- key
			}()
			synctest.Wait()
		}
		if p.Len() != 2 {
			t.Fatalf("%d waiters, want 2", p.Len())
		}
		before := checks["b"]
		ready["a"] = true
		p.Touch("a")
		if got := <-done; got != "a" || checks["b"] != before {
			t.Fatalf("%s woke, b checked %d times more", got, checks["b"]-before)
		}
		ready["b"] = true
		p.Touch("b")
		<-done
		if p.Len() != 0 || len(p.mu.waiters) != 0 {
			t.Fatal("waiters are left")
		}
	})
}

// What happens between the first check and the registration touches nobody: Await has to look once more.
func TestAChangeBeforeTheRegistrationIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Purgatory[int]
		calls := 0
		start := time.Now()
		if !p.Await(t.Context(), time.Hour, []int{1}, func() bool { calls++; return calls > 1 }) || time.Since(start) > 0 {
			t.Fatal("the change was seen only at the time-out")
		}
	})
}

func TestTimeoutAndCancelEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Purgatory[int]
		start := time.Now()
		if p.Await(t.Context(), time.Second, []int{1}, func() bool { return false }) || time.Since(start) != time.Second {
			t.Fatal("the time-out did not end the wait in time")
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if p.Await(ctx, time.Hour, []int{1}, func() bool { return false }) {
			t.Fatal("true after cancel")
		}
	})
}
