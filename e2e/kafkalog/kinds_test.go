//go:build e2e

package kafkalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"varve/commitlog"
	"varve/commitlog/record"
)

// future is a timestamp that no retention of producers reaches (ms): 2096.
const future = 4_000_000_000_000

// A kind is one way in which a log comes to look.
type kind struct {
	name   string
	config map[string]string // of the topic in Kafka
	write  func(w *writer)
}

var kinds = []kind{
	{"empty", nil, func(*writer) {}},
	{"plain", nil, func(w *writer) {
		for i := range 30 {
			w.append(plain(i))
		}
	}},
	{"codecs", nil, func(w *writer) {
		for i := range 40 {
			b := producer(7, int32(3*i), false)
			b.Codec = record.Codec(i % 5)
			w.append(b.Add(future, []byte("a"), []byte(strings.Repeat("sediment ", 9))).Add(future+1, nil, []byte("b")).Add(future+2, []byte("c"), nil))
		}
	}},
	{"log-append-time", map[string]string{"message.timestamp.type": "LogAppendTime"}, func(w *writer) {
		for i := range 10 {
			b := plain(i)
			b.LogAppendTime = true
			w.append(b)
		}
	}},
	{"transactions", nil, func(w *writer) {
		sequence := map[int64]int32{}
		for i := range 60 {
			id := int64(100 + i%3)
			w.append(producer(id, sequence[id], true).Add(future+int64(i), []byte(fmt.Sprint("k", i)), []byte("in a transaction")))
			sequence[id]++
			if i%7 == 6 {
				w.mark(id, i%2 == 0)
			}
			w.append(plain(i))
		}
		w.mark(100, true)
		w.mark(101, false)
		w.append(producer(102, sequence[102], true).Add(future, nil, []byte("of a transaction that stays open")))
	}},
	{"epochs", nil, func(w *writer) {
		for i := range 20 {
			w.append(plain(i))
		}
		w.cut(w.log.End() - 15) // what a new leader never had
		w.epoch = 1
		for i := range 10 {
			w.append(plain(i))
		}
	}},
	{"trimmed", nil, func(w *writer) {
		for i := range 30 {
			w.append(producer(9, int32(2*i), false).Add(future+int64(i), nil, []byte("v")).Add(future+int64(i), nil, []byte("w")))
		}
		w.trim(31)
	}},
	{"compacted", map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1"}, func(w *writer) {
		writeKeys(w, 0)
		w.compact(time.Now())
		writeKeys(w, 1)
	}},
}

// plain is batch i of no producer: keys, nulls, headers.
func plain(i int) *record.Builder {
	b := record.NewBuilder()
	for j := range 1 + i%4 {
		b.Add(1_600_000_000_000+int64(10*i+j), []byte(fmt.Sprint("key ", j)), []byte(fmt.Sprint("value ", i)), record.Header{Key: "h", Value: []byte{byte(i)}}, record.Header{Key: ""})
	}
	return b.Add(1_600_000_000_000, nil, nil)
}

func producer(id int64, sequence int32, transactional bool) *record.Builder {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, sequence, transactional
	return b
}

// writeKeys writes what compaction has to decide about: keys written again, tombstones, committed and aborted transactions, all codecs.
func writeKeys(w *writer, round int) {
	for i := range 120 {
		b := record.NewBuilder()
		b.Codec = record.Codec(i % 5)
		for j := range 5 {
			n := (i*7 + j*13 + round) % 37
			value := []byte(fmt.Sprint("round ", round, " batch ", i, strings.Repeat(".", 40)))
			if n%6 == 0 {
				value = nil
			}
			b.Add(future+int64(i), []byte(fmt.Sprint("key ", n)), value, record.Header{Key: "i", Value: []byte{byte(i)}})
		}
		w.append(b)
		if i%10 != 5 {
			continue
		}
		id := int64(1000 + i)
		for s := range int32(2) {
			w.append(producer(id, int32(6*round)+3*s, true).Add(future, []byte(fmt.Sprint("key ", i%37)), []byte("t")).Add(future, []byte("of all transactions"), []byte("t")).
				Add(future, []byte(fmt.Sprint("only in ", id, " of round ", round)), []byte("t")))
		}
		w.mark(id, i%20 == 5)
	}
	w.append(record.NewBuilder().Add(future, []byte(fmt.Sprint("never again after round ", round)), nil))
	w.roll()
	w.append(record.NewBuilder().Add(future, []byte("key 1"), []byte("the active segment is not compacted")))
}

// writer is the one writer of a log.
type writer struct {
	t     *testing.T
	log   *commitlog.Log
	epoch int32
}

func (w *writer) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) append(b *record.Builder) {
	w.t.Helper()
	_, err := w.log.Append(b.Build(), w.epoch, time.Now())
	w.must(err)
}

func (w *writer) mark(producerID int64, commit bool) {
	w.t.Helper()
	_, err := w.log.Append(record.NewMarker(producerID, 0, record.Marker{Commit: commit, CoordinatorEpoch: 1}, time.Now().UnixMilli()), w.epoch, time.Now())
	w.must(err)
}

func (w *writer) roll() { w.t.Helper(); w.must(w.log.Roll()) }

func (w *writer) cut(offset int64) { w.t.Helper(); w.must(w.log.TruncateTo(offset)) }

// trim is what DeleteRecords does.
func (w *writer) trim(offset int64) {
	w.t.Helper()
	w.must(w.log.SetLogStart(offset))
	_, _, err := w.log.DeleteBefore(offset)
	w.must(err)
}

// compact compacts all that is sealed, in as many passes as it takes.
func (w *writer) compact(now time.Time) {
	w.t.Helper()
	l := w.log
	segments := l.Segments()
	active := segments[len(segments)-1].BaseOffset
	await(w.t, "sealed segments on disk", func() bool { return l.Dirty(l.End(), now).To == active })
	for d := l.Dirty(l.End(), now); d.From < active; d = l.Dirty(l.End(), now) {
		done, err := l.Clean(d, commitlog.CleanOptions{Now: now, MapBytes: 1 << 20})
		if err != nil || done.To <= d.From {
			w.t.Fatalf("%+v, %v", done, err)
		}
	}
}
