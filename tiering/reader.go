package tiering

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/metadata"
)

const (
	// getsInFlight bounds the chunks on their way from the bucket, for all readers together: 4 MiB each.
	getsInFlight = 8
	// tablesInFlight bounds the bundles and manifest look-ups on their way.
	tablesInFlight = 4
	// tableBytes bounds the bundles kept in memory.
	tableBytes = 16 << 20
	// defaultCacheBytes is varve.tier.cache.memory.bytes when it is not set.
	defaultCacheBytes = 64 << 20
)

// ReaderConfig configures a Reader.
type ReaderConfig struct {
	Bucket      Bucket
	MemoryBytes int64 // varve.tier.cache.memory.bytes
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Reader reads live segments back. A read is answered from chunks in memory or not at all: what is missing is fetched behind it, once for all who
// want it, with the chunks that a sequential reader will want next. Every chunk is checked against the checksum of the chunk table, which
// came from a checked bundle. It implements fetch.RemoteReader.
type Reader struct {
	cfg     ReaderConfig
	log     *slog.Logger
	manager *Manager
	metrics *readMetrics

	chunks  *otter.Cache[chunkKey, []byte]
	tables  *otter.Cache[uuid.UUID, *Bundle]
	streams *otter.Cache[metadata.TopicPartition, *stream]

	cancel    context.CancelFunc
	running   sync.WaitGroup
	chunkGets *fills[chunkKey]
	tableGets *fills[uuid.UUID]
	rowGets   *fills[metadata.TopicPartition]
}

// chunkKey names a chunk of one upload attempt: what it holds never changes.
type chunkKey struct {
	segment uuid.UUID
	chunk   int
}

// NewReader returns a reader of what m's catalog knows to be live.
func NewReader(m *Manager, cfg ReaderConfig) *Reader {
	r := &Reader{cfg: cfg, log: cfg.Logger, manager: m, metrics: newReadMetrics(cfg.Registerer)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.chunks = otter.Must(&otter.Options[chunkKey, []byte]{MaximumWeight: uint64(cmp.Or(cfg.MemoryBytes, defaultCacheBytes)),
		Weigher: func(_ chunkKey, b []byte) uint32 { return uint32(len(b)) }})
	r.tables = otter.Must(&otter.Options[uuid.UUID, *Bundle]{MaximumWeight: tableBytes,
		Weigher: func(_ uuid.UUID, b *Bundle) uint32 { return uint32(1024 + len(b.Chunks)*chunkBytes + len(b.TxnIndex)) }})
	r.streams = otter.Must(&otter.Options[metadata.TopicPartition, *stream]{MaximumSize: 1024})
	r.chunkGets = newFills[chunkKey](ctx, &r.running, getsInFlight)
	r.tableGets = newFills[uuid.UUID](ctx, &r.running, tablesInFlight)
	r.rowGets = newFills[metadata.TopicPartition](ctx, &r.running, tablesInFlight)
	return r
}

// Close ends the reads under way and waits for them.
func (r *Reader) Close() {
	r.cancel()
	r.running.Wait()
}

// TieredEnd is one past the highest live offset, 0: none.
func (r *Reader) TieredEnd(tp metadata.TopicPartition) int64 { return r.manager.TieredEnd(tp) }

// Read implements fetch.RemoteReader.
func (r *Reader) Read(tp metadata.TopicPartition, offset, upTo int64, maxBytes int, minOne bool) (commitlog.Slice, <-chan struct{}, error) {
	var s commitlog.Slice
	rows, wait, err := r.rows(tp)
	if wait != nil || err != nil {
		return s, wait, err
	}
	i := segmentOf(rows, offset)
	if i == len(rows) {
		r.manager.catalog.forget(tp) // another broker may have uploaded it: look again at the next try
		return s, nil, fmt.Errorf("%w: offset %d of %s is neither local nor live in the bucket", kerr.KafkaStorageError, offset, tp)
	}
	table, wait, err := r.table(&rows[i])
	if wait != nil || err != nil {
		return s, wait, err
	}
	c := chunkOf(table.Chunks, offset)
	data, wait, err := r.chunk(&rows[i], table, c)
	r.readAhead(tp, rows, i, table, c)
	if wait != nil || err != nil {
		return s, wait, err
	}
	at, first := findBatch(data, offset)
	if at < len(data) && (first <= maxBytes || minOne) {
		r.gather(&s, data[at:], max(maxBytes, first), upTo)
	}
	r.extend(&s, rows, i, c, maxBytes, upTo)
	r.metrics.bytes.Add(float64(s.Bytes))
	return s, nil, nil
}

// extend goes on with the chunks behind c while they are in memory and there is room.
func (r *Reader) extend(s *commitlog.Slice, rows []metadata.RemoteSegment, i, c, maxBytes int, upTo int64) {
	for s.Bytes > 0 && s.Bytes < maxBytes {
		c++
		table, ok := r.tables.GetIfPresent(rows[i].ID)
		if ok && c == len(table.Chunks) {
			if i++; i == len(rows) {
				return
			}
			c = 0
			table, ok = r.tables.GetIfPresent(rows[i].ID)
		}
		if !ok || c >= len(table.Chunks) {
			return
		}
		data, ok := r.chunks.GetIfPresent(chunkKey{rows[i].ID, c})
		if !ok || !r.gather(s, data, maxBytes-s.Bytes, upTo) {
			return
		}
	}
}

// gather adds up to max bytes of whole batches' bytes below upTo, and reports whether all of data went in.
func (r *Reader) gather(s *commitlog.Slice, data []byte, max int, upTo int64) bool {
	n := min(len(data), max)
	for at := 0; at < n; { // the last chunk of a partition may reach beyond what the reader may see
		b, _, err := record.Split(data[at:])
		if err != nil {
			break
		}
		if b.BaseOffset() >= upTo {
			n = at
			break
		}
		at += len(b)
	}
	if n > 0 {
		s.Pieces = append(s.Pieces, commitlog.Piece{Mem: data[:n:n], Len: n})
		s.Bytes += n
	}
	return n == len(data)
}

// findBatch returns the position and size of the first batch that ends at or behind offset; len(data) without one.
func findBatch(data []byte, offset int64) (at, size int) {
	for at < len(data) {
		b, _, err := record.Split(data[at:])
		if err != nil {
			return len(data), 0
		}
		if b.LastOffset() >= offset {
			return at, len(b)
		}
		at += len(b)
	}
	return at, 0
}

// rows returns the live segments of tp.
func (r *Reader) rows(tp metadata.TopicPartition) ([]metadata.RemoteSegment, <-chan struct{}, error) {
	if rows, ok := r.manager.catalog.get(tp); ok {
		return rows, nil, nil
	}
	wait, err := r.rowGets.start(tp, false, func(ctx context.Context) error {
		_, err := r.manager.catalog.load(ctx, tp)
		return r.note(err)
	})
	return nil, wait, err
}

// table returns the bundle of a segment without the parts that reading does not need.
func (r *Reader) table(row *metadata.RemoteSegment) (*Bundle, <-chan struct{}, error) {
	if t, ok := r.tables.GetIfPresent(row.ID); ok {
		return t, nil, nil
	}
	segment := *row
	wait, err := r.tableGets.start(row.ID, false, func(ctx context.Context) error {
		b, err := fetchTable(ctx, r.cfg.Bucket, &segment)
		if err != nil {
			return r.note(err)
		}
		r.tables.Set(segment.ID, &Bundle{Chunks: b.Chunks, TxnIndex: b.TxnIndex, Segment: b.Segment})
		return nil
	})
	return nil, wait, err
}

// chunk returns the bytes of chunk c.
func (r *Reader) chunk(row *metadata.RemoteSegment, table *Bundle, c int) ([]byte, <-chan struct{}, error) {
	if data, ok := r.chunks.GetIfPresent(chunkKey{row.ID, c}); ok {
		r.metrics.hits.Inc()
		return data, nil, nil
	}
	r.metrics.misses.Inc()
	wait, err := r.startChunk(row, table.Chunks[c], c, false)
	return nil, wait, err
}

func (r *Reader) startChunk(row *metadata.RemoteSegment, c Chunk, i int, ahead bool) (<-chan struct{}, error) {
	k, objectKey := chunkKey{row.ID, i}, LogKey(row)
	return r.chunkGets.start(k, ahead, func(ctx context.Context) error {
		data, err := r.get(ctx, objectKey, c)
		if err != nil {
			return r.note(err)
		}
		r.chunks.Set(k, data)
		return nil
	})
}

// get reads one chunk and checks it.
func (r *Reader) get(ctx context.Context, objectKey string, c Chunk) ([]byte, error) {
	body, err := r.cfg.Bucket.Get(ctx, objectKey, c.Position, int64(c.Length))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data := make([]byte, c.Length)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, &ObjectError{"get", objectKey, err}
	}
	if crc32.Checksum(data, castagnoli) != c.CRC32C {
		r.metrics.corrupt.Inc()
		return nil, &ObjectError{"get", objectKey, fmt.Errorf("%w in [%d, %d)", ErrChecksum, c.Position, c.Position+int64(c.Length))}
	}
	r.metrics.fetched.Add(float64(len(data)))
	return data, nil
}

// note logs and counts a failed fill and makes it what the client is told: retriable, for this range only.
func (r *Reader) note(err error) error {
	if err == nil {
		return nil
	}
	r.metrics.errors.Inc()
	r.log.Warn("reading from the bucket failed and will be tried again when asked for", "error", err)
	return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
}
