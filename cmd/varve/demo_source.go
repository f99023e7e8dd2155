package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"varve/testdata/flights"
)

// A source is what went in: of every record its timestamp and checksum, by partition and offset.
type source struct {
	mu         sync.Mutex // guards partitions while producing
	partitions [demoPartitions][]sent
	records    int
	bytes      int64 // of keys and values
}

type sent struct {
	timestamp int64 // ms
	sum       uint32
}

// sumOf is a checksum over all that a record carries.
func sumOf(r *kgo.Record) sent {
	h := crc32.NewIEEE()
	fmt.Fprintf(h, "%d %d %d ", r.Timestamp.UnixMilli(), len(r.Key), len(r.Value))
	h.Write(r.Key)
	h.Write(r.Value)
	return sent{r.Timestamp.UnixMilli(), h.Sum32()}
}

// note records where a record went: offsets must come without gaps.
func (s *source) note(r *kgo.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[r.Partition]
	if r.Offset != int64(len(p)) {
		return fmt.Errorf("partition %d: offset %d was given after %d records", r.Partition, r.Offset, len(p))
	}
	s.partitions[r.Partition] = append(p, sumOf(r))
	s.records++
	s.bytes += int64(len(r.Key) + len(r.Value))
	return nil
}

// produce sends the events and notes where each went.
func (d *demo) produce(ctx context.Context) error {
	bar := d.bar(d.records, "producing")
	defer bar.Finish()
	var once sync.Once
	var failed error
	n := 0
	for e, err := range flights.All() {
		if err != nil {
			return err
		}
		if n++; n > d.records || ctx.Err() != nil {
			break
		}
		d.cl.Produce(ctx, &kgo.Record{Key: []byte(e.Key), Value: []byte(e.Line), Timestamp: e.Time}, func(r *kgo.Record, err error) {
			if err == nil {
				err = d.source.note(r)
			}
			if err != nil {
				once.Do(func() { failed = err })
			}
			_ = bar.Add(1)
		})
	}
	if err := d.cl.Flush(ctx); err != nil {
		return err
	}
	once.Do(func() {}) // orders failed before us
	return failed
}

// bar shows progress on a terminal, and nothing but its name elsewhere.
func (d *demo) bar(total int, what string) *progressbar.ProgressBar {
	out := io.Writer(os.Stderr)
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(d.out, "%s %d records\n", what, total)
		out = io.Discard
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetRenderBlankState(true), progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) }))
}
