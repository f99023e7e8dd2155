package tiering

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/lru"
	"varve/metadata"
	"varve/tiering/cache"
)

const (
	// getsInFlight bounds the reads of chunks on their way from the bucket, for all readers together; chunkCache bounds their bytes.
	getsInFlight = 8
	// tablesInFlight bounds the bundles and manifest look-ups on their way.
	tablesInFlight = 4
	// tableBytes bounds the chunk tables kept in memory: those of some TiB.
	tableBytes = 16 << 20
	// defaultCacheBytes is varve.tier.cache.memory.bytes when it is not set.
	defaultCacheBytes = 64 << 20
)

// ReaderConfig configures a Reader.
type ReaderConfig struct {
	Bucket      Bucket
	MemoryBytes int64       // varve.tier.cache.memory.bytes: chunks in memory and on their way to it; at least 16 MiB
	Disk        *cache.Disk // second to memory; nil: none. The caller closes it after the reader
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Reader reads live segments back. A read is answered from chunks in memory or not at all: what is missing is fetched behind it, once for all who
// want it, with the chunks that a sequential reader will want next. Every chunk is checked against the checksum of the chunk table, which
// is checked itself. It implements fetch.RemoteReader. Close comes after the last call.
type Reader struct {
	cfg     ReaderConfig
	log     *slog.Logger
	manager *Manager
	metrics *readMetrics

	chunks  *chunkCache
	tables  *lru.Cache[uuid.UUID, *Bundle]
	streams *streams

	ctx       context.Context // of the fills
	cancel    context.CancelFunc
	running   sync.WaitGroup
	chunkGets *fills[chunkKey]
	tableGets *fills[uuid.UUID]
	rowGets   *fills[metadata.TopicPartition]
}

// NewReader returns a reader of what m's catalog knows to be live.
func NewReader(m *Manager, cfg ReaderConfig) *Reader {
	r := &Reader{cfg: cfg, log: cfg.Logger, manager: m, metrics: newReadMetrics(cfg.Registerer)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.chunks = newChunkCache(cmp.Or(cfg.MemoryBytes, defaultCacheBytes))
	r.tables = lru.NewCache[uuid.UUID, *Bundle](tableBytes)
	r.streams = newStreams(r.chunks.inFlight)
	r.chunkGets = newFills[chunkKey](r.ctx, &r.running, getsInFlight)
	r.tableGets = newFills[uuid.UUID](r.ctx, &r.running, tablesInFlight)
	r.rowGets = newFills[metadata.TopicPartition](r.ctx, &r.running, tablesInFlight)
	return r
}

// Close ends the reads under way and waits for them.
func (r *Reader) Close() {
	r.cancel()
	r.running.Wait()
}

// TieredEnd is one past the highest live offset, 0: none. A new leader asks the manifest first.
func (r *Reader) TieredEnd(ctx context.Context, tp metadata.TopicPartition) (int64, error) {
	rows, err := r.manager.catalog.ensure(ctx, tp)
	return tieredEnd(rows), err
}

// Read implements fetch.RemoteReader. The slice aliases cached chunks. OFFSET_OUT_OF_RANGE: the oldest live segment begins behind offset.
func (r *Reader) Read(tp metadata.TopicPartition, offset, upTo int64, maxBytes int, minOne bool) (s commitlog.Slice, wait <-chan struct{}, err error) {
	rows, wait, err := r.rowsWith(tp, offset)
	if wait != nil || err != nil {
		return s, wait, err
	}
	if offset < rows[0].BaseOffset {
		return s, nil, fmt.Errorf("%w: the oldest live segment of %s begins at %d, behind %d", kerr.OffsetOutOfRange, tp, rows[0].BaseOffset, offset)
	}
	p, data, wait, err := r.locate(tp, rows, offset)
	if len(data) == 0 {
		return s, wait, err
	}
	end := offset
	if first, _, _ := record.Split(data); len(first) <= maxBytes || minOne {
		end = r.collect(&s, p, data, max(maxBytes, len(first)), upTo)
	}
	r.prefetch(p, r.streams.read(tp, offset, end, time.Now()))
	r.metrics.bytes.Add(float64(s.Bytes))
	return s, nil, nil
}

// locate returns the chunk that holds offset and its bytes from the batch on that does, or the first batch behind it: offsets between two batches
// hold no records. When they are not in memory it begins to fetch them. Neither bytes nor wait nor err: there is nothing behind offset.
func (r *Reader) locate(tp metadata.TopicPartition, rows []metadata.RemoteSegment, offset int64) (p place, data []byte, wait <-chan struct{}, err error) {
	p = place{rows: rows, i: segmentOf(rows, offset)}
	if p.table, wait, err = r.table(p.row()); wait != nil || err != nil {
		return p, nil, wait, err
	}
	for p.chunk = chunkOf(p.table.Chunks, offset) - 1; ; { // next moves to it, or on when the segment is empty
		if ok, wait, err := r.next(&p); !ok {
			return p, nil, wait, err
		}
		data, ok := r.chunks.get(p.key())
		if !ok {
			r.metrics.misses.Inc()
			window := r.streams.read(tp, offset, offset, time.Now())
			_, wait, err := r.startRun(&p, r.runFrom(&p, 1+window), false)
			return p, nil, wait, err
		}
		if at := findBatch(data, offset); at < len(data) {
			r.metrics.hits.Inc()
			return p, data[at:], nil, nil
		}
	}
}

// collect gathers data, which is the rest of p's chunk, and goes on with the chunks behind it while they are in memory and there is room. It returns
// the offset behind the last batch that it touched.
func (r *Reader) collect(s *commitlog.Slice, p place, data []byte, maxBytes int, upTo int64) (end int64) {
	for {
		whole, to := gather(s, data, maxBytes-s.Bytes, upTo)
		end = max(end, to)
		if !whole {
			return end
		}
		r.chunks.finished(p.key())
		if s.Bytes >= maxBytes {
			return end
		}
		if ok, _, _ := r.next(&p); !ok {
			return end
		}
		var ok bool
		if data, ok = r.chunks.get(p.key()); !ok {
			return end
		}
	}
}

// gather adds up to max bytes of the batches of data below upTo, the last one perhaps cut short. It reports whether all of data went in, and the
// offset behind the last batch.
func gather(s *commitlog.Slice, data []byte, max int, upTo int64) (whole bool, end int64) {
	n := min(len(data), max)
	for at := 0; at < n; { // the last chunk of a partition may reach beyond what the reader may see
		b, _, err := record.Split(data[at:])
		if err != nil || b.BaseOffset() >= upTo {
			n = at
			break
		}
		at, end = at+len(b), b.LastOffset()+1
	}
	if n > 0 {
		s.Pieces = append(s.Pieces, commitlog.Piece{Mem: data[:n:n], Len: n})
		s.Bytes += n
	}
	return n == len(data), end
}

// findBatch returns the position of the first batch that ends at or behind offset; len(data) without one.
func findBatch(data []byte, offset int64) int {
	for at := 0; at < len(data); {
		b, _, err := record.Split(data[at:])
		if err != nil {
			break
		}
		if b.LastOffset() >= offset {
			return at
		}
		at += len(b)
	}
	return len(data)
}

// rows returns the live segments of tp.
func (r *Reader) rows(tp metadata.TopicPartition) ([]metadata.RemoteSegment, <-chan struct{}, error) {
	if rows, ok := r.manager.catalog.get(tp); ok {
		return rows, nil, nil
	}
	return r.loadRows(tp, -1)
}

// rowsWith returns the live segments of tp, one of which ends behind offset: if none that is known does, another broker may have uploaded it, and
// the manifest is asked again, but not again and again.
func (r *Reader) rowsWith(tp metadata.TopicPartition, offset int64) ([]metadata.RemoteSegment, <-chan struct{}, error) {
	if rows, ok := r.manager.catalog.get(tp); ok && tieredEnd(rows) > offset {
		return rows, nil, nil
	}
	return r.loadRows(tp, offset)
}

func (r *Reader) loadRows(tp metadata.TopicPartition, offset int64) ([]metadata.RemoteSegment, <-chan struct{}, error) {
	wait, err := r.rowGets.start(tp, func(ctx context.Context) error {
		rows, err := r.manager.catalog.load(ctx, tp)
		if err != nil {
			r.metrics.errors.Inc()
			r.log.Warn("the live segments of a partition could not be looked up; they are when next asked for", "partition", tp.String(), "error", err)
			return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
		}
		if offset >= 0 && tieredEnd(rows) <= offset {
			return fmt.Errorf("%w: offset %d of %s is neither local nor live in the bucket", kerr.KafkaStorageError, offset, tp)
		}
		return nil
	})
	return nil, wait, err
}

// table returns what reading a segment takes of its bundle: the chunk table, and the transaction index if there is one.
func (r *Reader) table(row *metadata.RemoteSegment) (*Bundle, <-chan struct{}, error) {
	if t, ok := r.tables.Get(row.ID); ok {
		return t, nil, nil
	}
	wait, err := r.tableGets.start(row.ID, func(ctx context.Context) error {
		b, err := fetchTable(ctx, r.cfg.Bucket, row)
		if err != nil {
			return r.failed(row, err)
		}
		r.tables.Put(row.ID, &Bundle{Chunks: b.Chunks, TxnIndex: b.TxnIndex}, int64(512+len(b.Chunks)*chunkBytes+len(b.TxnIndex)))
		return nil
	})
	return nil, wait, err
}

// chunk returns the bytes of p's chunk.
func (r *Reader) chunk(p place) ([]byte, <-chan struct{}, error) {
	if data, ok := r.chunks.get(p.key()); ok {
		return data, nil, nil
	}
	_, wait, err := r.startRun(&p, r.runFrom(&p, 1), false)
	return nil, wait, err
}
