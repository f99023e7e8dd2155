package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
	"varve/internal/vfs"
)

// onDisk writes a log of some segments and opens it again, with nothing of it in memory.
func onDisk(t *testing.T, fs *vfs.FS) *Log {
	t.Helper()
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range 40 {
		b := record.NewBuilder()
		b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Codec = 7, 0, int32(i), record.Codec(i%5)
		mustAppend(t, l, b.Add(future+int64(i), []byte("key"), []byte(strings.Repeat("sediment ", 10))).Build(), int32(i/15))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return openLog(t, openDir(t, path, DirOptions{NodeID: 1, TailBytes: -1, FS: fs}), "topic-0", smallSegments())
}

// readSound reads a log offset by offset, past what is damaged: the batches that it served, and how many offsets it refused.
func readSound(t *testing.T, l *Log) (served []record.Batch, refused int) {
	t.Helper()
	for at := int64(0); at < l.End(); {
		s, err := l.Read(at, l.End(), 1<<20, true)
		var damage *CorruptionError
		if errors.As(err, &damage) && errors.Is(err, kerr.KafkaStorageError) {
			refused, at = refused+1, at+1
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b := sliceBytes(t, s)
		s.Release()
		for len(b) > 0 {
			batch, rest, err := record.Split(b)
			if err != nil {
				t.Fatalf("at %d: %v", at, err)
			}
			served, at, b = append(served, batch), batch.LastOffset()+1, rest
		}
	}
	return served, refused
}

// flip inverts bits of a byte of a file.
func flip(t *testing.T, path string, at int64, mask byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= mask
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[at:at+1], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoFlippedBitIsServed flips bits of a log's files under it, of sealed segments and of the active one: every bit of the headers, those that no CRC covers
// among them, and some of the records. What is served is what was written, the damaged segment is known after a scrub, and sound again after the bit is put back.
func TestNoFlippedBitIsServed(t *testing.T) {
	l := onDisk(t, nil)
	all, _ := readSound(t, l)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	segments := l.view.Load().segments
	flips := 0
	try := func(s *segment, at int64, mask byte) {
		flips++
		path := s.path(logSuffix)
		flip(t, path, at, mask)
		served, refused := readSound(t, l)
		if err := l.Scrub(time.Now().Add(time.Hour), func(int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		damaged := l.Damaged()
		for i, have := range served {
			if !slices.ContainsFunc(all, func(b record.Batch) bool { return bytes.Equal(b, have) }) || i > 0 && have.BaseOffset() <= served[i-1].BaseOffset() {
				t.Fatalf("byte %d of %s, bits %02x: a batch that was not written is served at %d", at, path, mask, have.BaseOffset())
			}
		}
		if refused == 0 || len(served) < len(all)-2-len(all)/len(segments) || len(damaged) != 1 || damaged[0].BaseOffset != s.base {
			t.Fatalf("byte %d of %s, bits %02x: %d batches of %d served, %d offsets refused, damaged: %+v", at, path, mask, len(served), len(all), refused, damaged)
		}
		flip(t, path, at, mask)
	}
	for _, s := range []*segment{segments[1], segments[len(segments)-1]} {
		positions := batchPositions(t, s)
		middle := positions[len(positions)/2]
		for at := middle; at < middle+record.HeaderSize; at++ {
			try(s, at, 1<<rnd.IntN(8))
		}
		for range 40 {
			try(s, rnd.Int64N(s.size()), byte(1+rnd.IntN(255)))
		}
		for bit := range 64 { // each of a base offset's
			try(s, middle+int64(bit/8), 1<<(bit%8))
		}
	}
	if err := l.Scrub(time.Now().Add(time.Hour), func(int) error { return nil }); err != nil || len(l.Damaged()) > 0 {
		t.Errorf("after %d flips and back: %v, %v", flips, l.Damaged(), err)
	}
	if served, refused := readSound(t, l); len(served) != len(all) || refused > 0 {
		t.Errorf("%d batches of %d are served at the end", len(served), len(all))
	}
}

func batchPositions(t *testing.T, s *segment) (out []int64) {
	t.Helper()
	h := headerScan{s: s, end: s.size()}
	defer h.close()
	for h.next() {
		out = append(out, h.at)
	}
	if h.err != nil {
		t.Fatal(h.err)
	}
	return out
}

// TestTheDiskDoesNotGiveBack: bytes that cannot be read are damage of their segment. The directory stays in service, and so does what can be read.
func TestTheDiskDoesNotGiveBack(t *testing.T) {
	var broken atomic.Pointer[string]
	l := onDisk(t, vfs.Hooked(func(op vfs.Op) error {
		if at := broken.Load(); op.Kind == vfs.Read && at != nil && op.Path == *at {
			return &os.PathError{Op: "read", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))
	all, _ := readSound(t, l)
	path := l.view.Load().segments[1].path(logSuffix)
	broken.Store(&path)
	served, refused := readSound(t, l)
	damaged := l.Damaged()
	if refused == 0 || len(served)+refused != len(all) || len(damaged) != 1 || !strings.Contains(damaged[0].Err.Error(), "input/output error") {
		t.Errorf("%d batches of %d are served, %d refused, damaged: %+v", len(served), len(all), refused, damaged)
	}
	mustAppend(t, l, plain(1, 1), 9)
	waitDurable(t, l)
	if err := l.dir.Failure(); err != nil {
		t.Errorf("the directory failed: %v", err)
	}
}

// TestRepair: a damaged sealed segment is replaced by the bytes that it had, index files and transaction index included; by nothing else; and readers that
// hold the old one read on.
func TestRepair(t *testing.T) {
	l := onDisk(t, nil)
	all, _ := readSound(t, l)
	s := l.view.Load().segments[1]
	path := s.path(logSuffix)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	held, err := l.Read(s.base, l.End(), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, path, 80, 1)
	if _, refused := readSound(t, l); refused == 0 {
		t.Fatal("the damage is not found")
	}
	rotten := slices.Clone(sound)
	rotten[100] ^= 4
	for name, src := range map[string][]byte{"rotten, too": rotten, "cut short": sound[:len(sound)-1], "longer": slices.Concat(sound, sound), "empty": nil} {
		if err := l.Repair(s.base, bytes.NewReader(src)); err == nil {
			t.Errorf("repaired by a source that is %s", name)
		}
	}
	if err := l.Repair(s.base, bytes.NewReader(sound)); err != nil {
		t.Fatal(err)
	}
	if served, refused := readSound(t, l); len(served) != len(all) || refused > 0 || len(l.Damaged()) > 0 {
		t.Errorf("%d batches of %d are served, %d refused", len(served), len(all), refused)
	}
	if b := sliceBytes(t, held); len(b) == 0 {
		t.Error("who held the old file lost it")
	}
	held.Release()
	active := l.view.Load().active().base
	if err := l.Repair(active, bytes.NewReader(sound)); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("repairing the active segment: %v", err)
	}
	dir := l.dir
	mustAppend(t, l, plain(1, 1), 9)
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, openDir(t, dir.path, DirOptions{NodeID: 1, TailBytes: -1}), "topic-0", smallSegments())
	if served, refused := readSound(t, again); len(served) != len(all)+1 || refused > 0 {
		t.Errorf("restarted: %d batches of %d are served, %d refused", len(served), len(all)+1, refused)
	}
	if left, _ := filepath.Glob(filepath.Join(again.path, "*.log.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPowerLossUnderRepair: at every file operation of a repair, all that was durable is there after a crash.
func TestPowerLossUnderRepair(t *testing.T) {
	root := t.TempDir()
	j := vfs.NewJournal(root)
	d := openDir(t, root, DirOptions{ClusterID: "c", NodeID: 1, FS: j.FS()})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range 20 {
		mustAppend(t, l, plain(5, int64(i)), 0)
	}
	waitDurable(t, l)
	eventually(t, "index files", func() bool { return l.view.Load().segments[1].sealedOnDisk() })
	want, end := contents(t, l, 0, l.End()), l.End()
	s := l.view.Load().segments[1]
	sound, err := os.ReadFile(s.path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	from := j.Len()
	if err := l.Repair(s.base, bytes.NewReader(sound)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "index files", func() bool { return l.view.Load().segments[1].sealedOnDisk() })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, operations %d to %d", seed, from, j.Len())
	for n := from; n <= j.Len(); n++ {
		path := filepath.Join(t.TempDir(), "dir")
		if err := j.Crash(n, path, rand.New(rand.NewPCG(seed, uint64(n)))); err != nil {
			t.Fatal(err)
		}
		d := openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
		l := openLog(t, d, "topic-0", smallSegments())
		if l.End() != end || !bytes.Equal(contents(t, l, 0, end), want) {
			t.Fatalf("operation %d: the log ends at %d of %d, or has other bytes", n, l.End(), end)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestScrubIsThrottledAndKeepsItsInterval: the scrub tells what it reads, ends with the throttle's error, and leaves alone what it has just seen.
func TestScrubIsThrottledAndKeepsItsInterval(t *testing.T) {
	l := onDisk(t, nil)
	read := 0
	count := func(n int) error { read += n; return nil }
	hourAgo := time.Now().Add(-time.Hour)
	if err := l.Scrub(hourAgo, count); err != nil || int64(read) != l.Size() {
		t.Errorf("%d bytes of %d, %v", read, l.Size(), err)
	}
	if err := l.Scrub(hourAgo, count); err != nil || int64(read) != l.Size() {
		t.Errorf("a second scrub read %d bytes, %v", int64(read)-l.Size(), err)
	}
	stop := fmt.Errorf("stop")
	if err := l.Scrub(time.Now().Add(time.Hour), func(int) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}
