package cache

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"varve/internal/lru"
	"varve/internal/vfs"
)

const (
	// maxSeen is how many chunks that were fetched once are remembered: some hundred GiB of history.
	maxSeen = 1 << 16
	// maxQueue bounds the chunks that wait to be written. What finds no room is not kept: it will be offered again.
	maxQueue = 4
	// failurePause is how long nothing is written after a write failed, as it does on a full disk.
	failurePause = time.Minute

	suffix = ".chunk"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Key names a chunk of one upload attempt: what it holds never changes.
type Key struct {
	Segment uuid.UUID
	Chunk   int
}

func (k Key) file() string { return fmt.Sprintf("%s-%d%s", k.Segment, k.Chunk, suffix) }

// parseKey is the inverse of file.
func parseKey(name string) (k Key, ok bool) {
	rest, ok := strings.CutSuffix(name, suffix)
	if !ok || len(rest) < 38 {
		return k, false
	}
	id, err := uuid.Parse(rest[:36])
	if err != nil {
		return k, false
	}
	k.Segment = id
	_, err = fmt.Sscanf(rest[36:], "-%d", &k.Chunk)
	return k, err == nil && k.file() == name
}

// Disk is a disk cache of chunks. It is safe for concurrent use, and so is a nil *Disk, which holds nothing.
type Disk struct {
	dir      string
	capacity int64
	fs       *vfs.FS
	log      *slog.Logger

	writes chan write // closed by Close
	writer sync.WaitGroup

	mu struct {
		sync.Mutex
		files lru.List[Key, int64] // lengths, which are the weights
		seen  lru.List[Key, struct{}]
	}
}

type write struct {
	key  Key
	data []byte
}

// Options of a disk cache.
type Options struct {
	Capacity int64   // varve.tier.cache.bytes
	FS       *vfs.FS // nil: the plain file system
	Logger   *slog.Logger
}

// Open opens the cache in dir, which is the cache's own, with what an earlier one left there. Close ends it.
func Open(dir string, o Options) (*Disk, error) {
	d := &Disk{dir: dir, capacity: o.Capacity, fs: o.FS, log: o.Logger, writes: make(chan write, maxQueue)}
	if d.fs == nil {
		d.fs = vfs.OS()
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("the disk cache of the tier: %w", err)
	}
	d.writer.Go(d.write)
	return d, nil
}

// load takes stock, the oldest first. What is no chunk was half written.
func (d *Disk) load() error {
	if err := d.fs.Mkdir(d.dir); err != nil {
		return err
	}
	entries, err := d.fs.ReadDir(d.dir)
	if err != nil {
		return err
	}
	type found struct {
		key     Key
		size    int64
		written time.Time
	}
	var all []found
	for _, e := range entries {
		k, ok := parseKey(e.Name())
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			if err := d.fs.RemoveAll(filepath.Join(d.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		all = append(all, found{k, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.written.Compare(b.written), cmp.Compare(a.key.Chunk, b.key.Chunk))
	})
	for _, f := range all {
		d.mu.files.Put(f.key, f.size, f.size)
	}
	return d.evict()
}

// Close writes what waits to be written and ends the cache. It comes after the last Offer.
func (d *Disk) Close() {
	if d == nil {
		return
	}
	close(d.writes)
	d.writer.Wait()
}

// Get returns the bytes of a chunk whose length and CRC32C are as given, nil when it is not there. A file with other bytes is removed.
func (d *Disk) Get(k Key, length int, crc uint32) []byte {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	_, ok := d.mu.files.Get(k)
	d.mu.Unlock()
	if !ok {
		return nil
	}
	path := filepath.Join(d.dir, k.file())
	data, err := d.fs.ReadFile(path)
	if err == nil && len(data) == length && crc32.Checksum(data, castagnoli) == crc {
		return data
	}
	d.mu.Lock()
	_, ok = d.mu.files.Remove(k)
	d.mu.Unlock()
	if ok { // or it was evicted a moment ago
		d.log.Warn("a file of the tier's disk cache is damaged; its chunk comes from the bucket again", "path", path, "error", err)
		_ = d.fs.Remove(path)
	}
	return nil
}

// Offer tells that the bucket has brought a chunk. The second time it is kept. data may not be changed afterwards.
func (d *Disk) Offer(k Key, data []byte) {
	if d == nil || !d.admit(k, int64(len(data))) {
		return
	}
	select {
	case d.writes <- write{k, data}:
	default:
	}
}

// admit reports whether a chunk is worth keeping.
func (d *Disk) admit(k Key, size int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size > d.capacity || d.mu.files.Has(k) {
		return false
	}
	if _, ok := d.mu.seen.Get(k); ok {
		return true
	}
	d.mu.seen.Put(k, struct{}{}, 1)
	if d.mu.seen.Len() > maxSeen {
		d.mu.seen.Evict()
	}
	return false
}

// write writes what was admitted, one file after the other, so that the cache never takes more than one writer's share of the disk.
func (d *Disk) write() {
	var paused time.Time
	for w := range d.writes {
		if time.Now().Before(paused) {
			continue
		}
		if err := d.store(w); err != nil {
			paused = time.Now().Add(failurePause)
			d.log.Warn("the tier's disk cache could not be written and rests for a minute; reads come from the bucket", "dir", d.dir, "error", err)
		}
	}
}

// store writes one chunk and evicts what has no room any more. The file has its name once it is whole; a crash may leave it without its bytes, which
// Get finds out: nothing is synced.
func (d *Disk) store(w write) error {
	path := filepath.Join(d.dir, w.key.file())
	tmp := strings.TrimSuffix(path, suffix) + ".tmp"
	f, err := d.fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(w.data, 0)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.fs.Rename(tmp, path)
	}
	if err != nil {
		_ = d.fs.Remove(tmp)
		return err
	}
	d.mu.Lock()
	d.mu.files.Put(w.key, int64(len(w.data)), int64(len(w.data)))
	d.mu.seen.Remove(w.key)
	d.mu.Unlock()
	return d.evict()
}

// evict removes the least recently used files until the others fit.
func (d *Disk) evict() error {
	for {
		d.mu.Lock()
		if d.mu.files.Weight() <= d.capacity {
			d.mu.Unlock()
			return nil
		}
		k, _ := d.mu.files.Evict()
		d.mu.Unlock()
		if err := d.fs.Remove(filepath.Join(d.dir, k.file())); err != nil {
			return err
		}
	}
}

// Bytes is what the cache holds.
func (d *Disk) Bytes() int64 {
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.files.Weight()
}
