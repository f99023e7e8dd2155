package commitlog

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"varve/commitlog/record"
)

// What runs for every batch must not allocate. A chunk of the tail, a roll and the index's growth are paid once in many appends.
func TestHotPathDoesNotAllocate(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, Durability: Async})
	l := openLog(t, d, "topic-0", DefaultConfig())
	now := time.Now()
	b := plain(10, 1600000000000)
	measure(t, "Append", func() {
		if _, err := l.Append(b, 1, now); err != nil {
			t.Fatal(err)
		}
	})
	idempotent := record.NewBuilder()
	idempotent.ProducerID, idempotent.ProducerEpoch, idempotent.BaseSequence = 7, 0, 0
	batches := make([]record.Batch, 1200)
	for i := range batches {
		idempotent.BaseSequence = int32(i)
		next := *idempotent
		batches[i] = next.Add(1600000000000, nil, []byte("value")).Build()
	}
	i := 0
	measure(t, "idempotent Append", func() {
		if _, err := l.Append(batches[i], 1, now); err != nil {
			t.Fatal(err)
		}
		i++
	})
	tail := l.End() - 100
	measure(t, "Read from memory", func() { readOnce(t, l, tail, true) })
	d2 := openDir(t, t.TempDir(), DirOptions{NodeID: 1, Durability: Async, TailBytes: -1})
	cold := openLog(t, d2, "topic-0", DefaultConfig())
	for range 100 {
		mustAppend(t, cold, plain(10, 1600000000000), 1)
	}
	measure(t, "Read from the file", func() { readOnce(t, cold, 500, false) })
}

func readOnce(t *testing.T, l *Log, offset int64, mem bool) {
	s, err := l.Read(offset, l.End(), 1<<20, true)
	if err != nil || s.Bytes == 0 || (s.Pieces[0].Mem != nil) != mem {
		t.Fatalf("%d bytes in %d pieces, %v", s.Bytes, len(s.Pieces), err)
	}
	s.Release()
}

func measure(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(1000, f); n > 0 && !raceEnabled {
		t.Errorf("%s allocates %.0f times", what, n)
	}
}

func TestWalkDoesNotAllocatePerRecord(t *testing.T) {
	for codec := record.None; codec <= record.Zstd; codec++ {
		b := record.NewBuilder()
		b.Codec = codec
		for range 2000 {
			b.Add(1600000000000, []byte("key"), []byte("value"), record.Header{Key: "h", Value: []byte("v")})
		}
		batch := b.Build()
		n := testing.AllocsPerRun(20, func() {
			if err := batch.Walk(0, func(*record.Record) error { return nil }); err != nil {
				t.Fatal(err)
			}
		})
		if n > 20 && !raceEnabled { // of 2000 records
			t.Errorf("%v: %.0f allocations", codec, n)
		}
		t.Logf("%v: %.0f allocations", codec, n)
	}
}

// TestIdleLogsAreSmall: a log costs no buffers while nothing is appended, and after a restart not even the index of its active segment.
func TestIdleLogsAreSmall(t *testing.T) {
	const logs = 1000
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1, Durability: Async})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, when := range []string{"new", "restarted"} {
		before := heap()
		for i := range logs {
			l := openLog(t, d, fmt.Sprintf("topic-%d", i), DefaultConfig())
			if when == "new" && i < 10 {
				mustAppend(t, l, plain(100, 1), 1)
			}
		}
		if each := (heap() - before) / logs; each > 4096 {
			t.Errorf("%s: an idle log takes %d bytes", when, each)
		} else {
			t.Logf("%s: an idle log takes %d bytes", when, each)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = openDir(t, path, DirOptions{NodeID: 1, Durability: Async})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, durability := range []Durability{Async, Fsync} {
		b.Run([]string{"fsync", "async"}[durability], func(b *testing.B) {
			d := openDir(b, b.TempDir(), DirOptions{NodeID: 1, Durability: durability})
			l := openLog(b, d, "topic-0", DefaultConfig())
			batch := plain(10, 1600000000000)
			b.SetBytes(int64(len(batch)))
			now := time.Now()
			for b.Loop() {
				if _, err := l.Append(batch, 1, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, tail := range []int64{DefaultTailBytes, -1} {
		b.Run(map[bool]string{true: "memory", false: "file"}[tail > 0], func(b *testing.B) {
			d := openDir(b, b.TempDir(), DirOptions{NodeID: 1, Durability: Async, TailBytes: tail})
			l := openLog(b, d, "topic-0", DefaultConfig())
			for range 2000 {
				mustAppend(b, l, plain(10, 1600000000000), 1)
			}
			offset, upTo := l.End()-15, l.End()-3
			upTo -= upTo % 10
			for b.Loop() {
				s, err := l.Read(offset, upTo, 1<<20, true)
				if err != nil || s.Bytes == 0 {
					b.Fatal(err)
				}
				s.Release()
			}
		})
	}
}

// BenchmarkAcknowledge has one producer per log that waits for its append to be durable before it sends the next.
func BenchmarkAcknowledge(b *testing.B) {
	for _, logs := range []int{1, 8, 64} {
		for _, whole := range []bool{false, true} {
			b.Run(fmt.Sprintf("logs=%d/syncfs=%v", logs, whole), func(b *testing.B) {
				d := openDir(b, b.TempDir(), DirOptions{NodeID: 1})
				if !whole {
					d.syncer.cost.from = 0
				}
				type client struct {
					l    *Log
					wake chan struct{}
				}
				clients := make([]client, logs)
				for i := range clients {
					wake := make(chan struct{}, 1)
					l, err := d.OpenLog(fmt.Sprintf("topic-%d", i), testTopic, DefaultConfig(), func(int64) { wake <- struct{}{} })
					if err != nil {
						b.Fatal(err)
					}
					clients[i] = client{l, wake}
				}
				var wg sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				for _, c := range clients {
					wg.Go(func() {
						batch := plain(10, 1600000000000)
						for left.Add(-1) >= 0 {
							mustAppend(b, c.l, batch, 1)
							<-c.wake
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
