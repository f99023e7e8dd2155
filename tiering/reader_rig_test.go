package tiering_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/metadata"
	"varve/tiering"
	"varve/tiering/file"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A rig is one partition whose sealed segments are in a bucket, and what reads them back.
type rig struct {
	bucket *spy
	dir    string // of a directory's bucket
	reg    *prometheus.Registry
	logs   *commitlog.Dir
	rows   *manifest
	tp     metadata.TopicPartition
	log    *commitlog.Log
	reader *tiering.Reader

	manifests *manifests // of all partitions
}

// newRig gives a partition without data on bucket b; nil: a directory of the test's own.
func newRig(t testing.TB, b tiering.Bucket, memory int64) *rig {
	t.Helper()
	dir := t.TempDir()
	if b == nil {
		var err error
		if b, err = file.Open(t.Context(), &url.URL{Scheme: "file", Path: dir}); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := commitlog.OpenDir(t.TempDir(), commitlog.DirOptions{NodeID: 1, Durability: commitlog.Async})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	first := &rig{bucket: &spy{Bucket: b}, dir: dir, logs: logs, manifests: &manifests{}}
	r := first.another(t, 0)
	r.reader = r.newReader(t, memory)
	return r
}

// another is one more partition beside r, for the same readers.
func (r *rig) another(t testing.TB, partition int) *rig {
	t.Helper()
	a := *r
	a.tp, a.rows = metadata.TopicPartition{TopicID: metadata.TopicID(uuid.New()), Partition: int32(partition)}, &manifest{}
	r.manifests.Store(a.tp, a.rows)
	var err error
	a.log, err = r.logs.OpenLog(fmt.Sprintf("events-%d", partition), uuid.UUID(a.tp.TopicID), commitlog.DefaultConfig(), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return &a
}

// newReader is another reader of the same partition, with nothing in its caches.
func (r *rig) newReader(t testing.TB, memory int64) *tiering.Reader {
	t.Helper()
	r.reg = prometheus.NewRegistry()
	reader := tiering.NewReader(tiering.New(tiering.Config{Manifest: r.manifests}), tiering.ReaderConfig{Bucket: r.bucket, MemoryBytes: memory, Registerer: r.reg})
	t.Cleanup(reader.Close)
	return reader
}

// metric is the value of a counter of the newest reader.
func (r *rig) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].Counter.GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// object is the file of an object in a directory's bucket.
func (r *rig) object(t testing.TB, key string) string {
	t.Helper()
	return filepath.Join(r.dir, filepath.FromSlash(key))
}

// append writes a batch of count records of 1 ms each from timestamp on, of about size bytes in all.
func (r *rig) append(t testing.TB, count int, timestamp int64, size int) {
	t.Helper()
	b := record.NewBuilder()
	for i := range count {
		b.Add(timestamp+int64(i), nil, bytes.Repeat([]byte{byte(r.log.End()) + byte(i)}, size/count))
	}
	r.appendBatch(t, b.Build())
}

func (r *rig) appendBatch(t testing.TB, b record.Batch) {
	t.Helper()
	if _, err := r.log.Append(b, 3, time.UnixMilli(0)); err != nil {
		t.Fatal(err)
	}
}

// seal ends the active segment.
func (r *rig) seal(t testing.TB) {
	t.Helper()
	if err := r.log.Roll(); err != nil {
		t.Fatal(err)
	}
}

// upload brings the sealed segments that are not there yet to the bucket and makes them live.
func (r *rig) upload(t testing.TB) {
	t.Helper()
	for _, info := range r.log.Segments() {
		if !info.Sealed || info.EndOffset <= r.rows.end() {
			continue
		}
		s, err := r.log.OpenSealed(info.BaseOffset)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := tiering.Summarize(s.Log, s.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		row := metadata.RemoteSegment{ID: uuid.New(), TopicPartition: r.tp, BaseOffset: s.BaseOffset, EndOffset: s.EndOffset, LeaderEpoch: 3,
			State: metadata.SegmentLive, MaxTimestamp: sum.MaxTimestamp, LogBytes: s.Bytes, LogCRC32C: sum.CRC32C, HasTxnIndex: s.TxnIndex != nil}
		bundle := tiering.Bundle{Topic: "events", Segment: row, Chunks: sum.Chunks, Index: s.Index, TimeIndex: s.TimeIndex, TxnIndex: s.TxnIndex,
			Producers: s.ProducerSnapshot, LeaderEpochs: s.Epochs}
		idx := bundle.Encode()
		row.IdxBytes = int64(len(idx))
		r.put(t, tiering.LogKey(&row), s.Log, row.LogBytes, row.LogCRC32C)
		r.put(t, tiering.IdxKey(&row), bytes.NewReader(idx), row.IdxBytes, crc32.Checksum(idx, castagnoli))
		s.Release()
		r.rows.add(row)
	}
}

func (r *rig) put(t testing.TB, key string, body io.ReaderAt, size int64, crc uint32) {
	t.Helper()
	if err := r.bucket.Put(t.Context(), key, body, tiering.PutOptions{Size: size, CRC32C: crc}); err != nil {
		t.Fatal(err)
	}
}

// local is what the log's own files hold in [from, upTo).
func (r *rig) local(t testing.TB, from, upTo int64) []byte {
	t.Helper()
	var all []byte
	for from < upTo {
		s, err := r.log.Read(from, upTo, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		if s.Bytes == 0 {
			t.Fatalf("nothing at %d", from)
		}
		whole, next := wholeBatches(t, collect(t, &s))
		all, from = append(all, whole...), next
	}
	return all
}

// collect copies a slice's bytes and releases it.
func collect(t testing.TB, s *commitlog.Slice) []byte {
	t.Helper()
	defer s.Release()
	var all []byte
	for _, p := range s.Pieces {
		if p.Mem != nil {
			all = append(all, p.Mem...)
			continue
		}
		b := make([]byte, p.Len)
		if _, err := p.File.ReadAt(b, p.Pos); err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if len(all) != s.Bytes {
		t.Fatalf("%d bytes of %d", len(all), s.Bytes)
	}
	return all
}

// wholeBatches cuts off a batch that is not complete, as consumers do, and returns the offset behind the last whole one.
func wholeBatches(t testing.TB, data []byte) (whole []byte, next int64) {
	t.Helper()
	at := 0
	for {
		b, _, err := record.Split(data[at:])
		if err != nil || len(data) == at {
			break
		}
		if !b.CheckCRC() {
			t.Fatalf("batch at offset %d is damaged", b.BaseOffset())
		}
		at, next = at+len(b), b.LastOffset()+1
	}
	if at == 0 {
		t.Fatalf("no whole batch in %d bytes", len(data))
	}
	return data[:at], next
}

// read waits until Read has an answer.
func read(t testing.TB, reader *tiering.Reader, tp metadata.TopicPartition, offset, upTo int64, maxBytes int) (commitlog.Slice, error) {
	t.Helper()
	for {
		s, wait, err := reader.Read(tp, offset, upTo, maxBytes, true)
		if wait == nil {
			return s, err
		}
		if s.Bytes != 0 {
			t.Fatal("bytes and a channel to wait for")
		}
		await(t, wait)
	}
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("it did not come to an end")
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not come true")
		}
	}
}

// replay reads [from, upTo) as a consumer does.
func replay(t testing.TB, reader *tiering.Reader, tp metadata.TopicPartition, from, upTo int64, maxBytes int) []byte {
	t.Helper()
	var all []byte
	for from < upTo {
		s, err := read(t, reader, tp, from, upTo, maxBytes)
		if err != nil {
			t.Fatalf("at %d: %v", from, err)
		}
		whole, next := wholeBatches(t, collect(t, &s))
		all, from = append(all, whole...), next
	}
	return all
}

// manifest is the live rows of one partition.
type manifest struct {
	mu struct {
		sync.Mutex
		rows  []metadata.RemoteSegment
		err   error
		calls int
	}
}

func (m *manifest) add(s metadata.RemoteSegment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.rows = append(m.mu.rows, s)
}

func (m *manifest) set(rows []metadata.RemoteSegment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.rows = rows
}

func (m *manifest) all() []metadata.RemoteSegment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.rows
}

func (m *manifest) end() int64 {
	if rows := m.all(); len(rows) > 0 {
		return rows[len(rows)-1].EndOffset
	}
	return 0
}

// fail makes every look-up fail; nil: no more.
func (m *manifest) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.err = err
}

func (m *manifest) lookups() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.calls
}

func (m *manifest) list(from int64, limit int) ([]metadata.RemoteSegment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.calls++
	var page []metadata.RemoteSegment
	for _, s := range m.mu.rows {
		if s.EndOffset > from && len(page) < limit {
			page = append(page, s)
		}
	}
	return page, m.mu.err
}

// manifests are those of all partitions, as a tiering.Manifest; nobody uploads through it.
type manifests struct {
	sync.Map // by partition
	tiering.Manifest
}

func (m *manifests) LiveSegments(_ context.Context, tp metadata.TopicPartition, from int64, limit int) ([]metadata.RemoteSegment, error) {
	rows, _ := m.Load(tp)
	return rows.(*manifest).list(from, limit)
}

// A spy is a real bucket whose reads are counted and can be held.
type spy struct {
	tiering.Bucket
	mu struct {
		sync.Mutex
		asked           int
		read, now, most int64         // bytes asked for; asked for and not yet read, now and at most
		gate            chan struct{} // nil: open
	}
}

func (s *spy) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.mu.asked++
	s.mu.read += length
	gate := s.mu.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	body, err := s.Bucket.Get(ctx, key, offset, length)
	if err != nil || !strings.HasSuffix(key, ".log") {
		return body, err
	}
	s.underWay(length)
	return &spied{ReadCloser: body, s: s, left: length}, nil
}

func (s *spy) underWay(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.now += n
	s.mu.most = max(s.mu.most, s.mu.now)
}

type spied struct {
	io.ReadCloser
	s    *spy
	left int64
}

func (b *spied) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.s.underWay(-int64(n))
	return n, err
}

func (b *spied) Close() error {
	b.s.underWay(-b.left)
	return b.ReadCloser.Close()
}

func (s *spy) mostBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.most
}

// hold makes reads wait until the returned function is called.
func (s *spy) hold() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.gate = gate
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.gate = nil
		close(gate)
	}
}

func (s *spy) gets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.asked
}

func (s *spy) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.read
}

func (s *spy) awaitGets(t testing.TB, n int) {
	t.Helper()
	eventually(t, func() bool { return s.gets() >= n })
}
