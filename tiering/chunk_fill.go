package tiering

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// startRun begins to fetch run, chunks of p's segment from p on, by one GET. Without reserved the fill waits for room. started is how many of them
// this GET brings, 0 when the first one is under way already or failed a moment ago.
func (r *Reader) startRun(p *place, run []Chunk, reserved bool) (started int, wait <-chan struct{}, err error) {
	keys := make([]chunkKey, len(run))
	for i := range keys {
		keys[i] = chunkKey{Segment: p.row().ID, Chunk: p.chunk + i}
	}
	row := p.row()
	return r.chunkGets.startRun(keys, func(ctx context.Context, n int, done func(int, error)) {
		if !reserved {
			if err := r.chunks.reserve(ctx, sizeOf(run[:n])); err != nil {
				for i := range n {
					done(i, nil) // no room yet: whoever waits looks again
				}
				return
			}
		}
		r.fill(ctx, row, keys[:n], run[:n], done)
	})
}

// fill brings a run into memory and gives back the room that was reserved for it: its first chunks from disk as far as they are there, the rest from
// the bucket.
func (r *Reader) fill(ctx context.Context, row *metadata.RemoteSegment, keys []chunkKey, run []Chunk, done func(int, error)) {
	n := 0
	for ; n < len(run); n++ {
		data := r.cfg.Disk.Get(keys[n], int(run[n].Length), run[n].CRC32C)
		if data == nil {
			break
		}
		r.metrics.diskHits.Inc()
		r.chunks.release(int64(run[n].Length))
		r.chunks.put(keys[n], data)
		done(n, nil)
	}
	if n < len(run) {
		r.fillFromBucket(ctx, row, keys[n:], run[n:], func(i int, err error) { done(n+i, err) })
	}
}

// fillFromBucket fetches a run by one GET. Each chunk counts as soon as it is there. One that is damaged fails alone; a read that breaks off fails
// all that it has not brought.
func (r *Reader) fillFromBucket(ctx context.Context, row *metadata.RemoteSegment, keys []chunkKey, run []Chunk, done func(int, error)) {
	body, err := r.cfg.Bucket.Get(ctx, LogKey(row), run[0].Position, sizeOf(run))
	if err == nil {
		defer body.Close()
	} else {
		err = r.failed(row, err)
	}
	for i, c := range run {
		var data []byte
		if err == nil {
			data = make([]byte, c.Length)
			if _, broken := io.ReadFull(body, data); broken != nil {
				err = r.failed(row, &ObjectError{"get", LogKey(row), fmt.Errorf("after %d bytes: %w", c.Position, broken)})
			}
		}
		r.chunks.release(int64(c.Length))
		if err != nil {
			done(i, err)
			continue
		}
		r.metrics.fetched.Add(float64(len(data)))
		if crc32.Checksum(data, castagnoli) != c.CRC32C {
			r.metrics.corrupt.Inc()
			done(i, r.failed(row, &ObjectError{"get", LogKey(row), fmt.Errorf("%w in [%d, %d)", ErrChecksum, c.Position, c.Position+int64(c.Length))}))
			continue
		}
		r.chunks.put(keys[i], data)
		r.cfg.Disk.Offer(keys[i], data)
		done(i, nil)
	}
}

// failed logs and counts a failed read of a segment and makes it what the client is told: retriable, for this range only. Objects that are gone
// were perhaps deleted by a leader that this process has not heard of: the manifest is asked again.
func (r *Reader) failed(row *metadata.RemoteSegment, err error) error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("%w: the broker is stopping", kerr.KafkaStorageError)
	}
	if errors.Is(err, ErrNotFound) {
		r.manager.catalog.forget(row.TopicPartition)
	}
	r.metrics.errors.Inc()
	r.log.Warn("a segment in the bucket could not be read; its range is tried again when asked for", "partition", row.TopicPartition.String(),
		"base_offset", row.BaseOffset, "end_offset", row.EndOffset, "error", err)
	return fmt.Errorf("%w: offsets [%d, %d): %w", kerr.KafkaStorageError, row.BaseOffset, row.EndOffset, err)
}
