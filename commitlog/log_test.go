package commitlog

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog/record"
)

var testTopic = uuid.MustParse("7b1f2a3c-0d4e-4f5a-8b6c-9d0e1f2a3b4c")

// openDir opens a log directory that the test's end closes.
func openDir(t testing.TB, path string, o DirOptions) *Dir {
	t.Helper()
	d, err := OpenDir(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func openLog(t testing.TB, d *Dir, name string, cfg Config) *Log {
	t.Helper()
	l, err := d.OpenLog(name, testTopic, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// plain builds a batch of n records of about 50 bytes without a producer, starting at timestamp ts.
func plain(n int, ts int64) record.Batch {
	b := record.NewBuilder()
	for i := range n {
		b.Add(ts+int64(i), fmt.Appendf(nil, "key-%d", i), []byte("a varve is a yearly layer of sediment"))
	}
	return b.Build()
}

func mustAppend(t testing.TB, l *Log, b record.Batch, epoch int32) Appended {
	t.Helper()
	a, err := l.Append(b, epoch, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// waitDurable waits until everything appended is durable.
func waitDurable(t testing.TB, l *Log) {
	t.Helper()
	eventually(t, "durable", func() bool { return l.Durable() == l.End() })
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// contents reads [from, upTo) and returns the bytes.
func contents(t testing.TB, l *Log, from, upTo int64) []byte {
	t.Helper()
	var out []byte
	for from < upTo {
		s, err := l.Read(from, upTo, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		b := sliceBytes(t, s)
		s.Release()
		if len(b) == 0 {
			t.Fatalf("nothing at %d, the log ends at %d", from, l.End())
		}
		for len(b) > 0 {
			batch, rest, err := record.Split(b)
			if err != nil {
				break // cut short
			}
			out, from, b = append(out, batch...), batch.LastOffset()+1, rest
		}
	}
	return out
}

func sliceBytes(t testing.TB, s Slice) []byte {
	t.Helper()
	out := make([]byte, 0, s.Bytes)
	for _, p := range s.Pieces {
		if p.Mem != nil {
			out = append(out, p.Mem...)
			continue
		}
		b := make([]byte, p.Len)
		if _, err := p.File.ReadAt(b, p.Pos); err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	if len(out) != s.Bytes {
		t.Fatalf("%d bytes in the pieces, %d announced", len(out), s.Bytes)
	}
	return out
}

func TestAppendReadReopen(t *testing.T) {
	path := t.TempDir()
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 2000, 200
	d := openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
	l := openLog(t, d, "topic-0", cfg)
	var want []byte
	for i := range 40 {
		b := plain(1+i%5, 1600000000000+int64(i))
		a := mustAppend(t, l, b, 3)
		if a.BaseOffset != b.BaseOffset() || a.LastOffset != l.End()-1 {
			t.Fatalf("appended %+v", a)
		}
		want = append(want, b...)
	}
	check := func(l *Log) {
		t.Helper()
		if got := contents(t, l, 0, l.End()); !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, appended %d", len(got), len(want))
		}
		for o := range l.End() { // any offset gives the batch that contains it
			s, err := l.Read(o, l.End(), 1, true)
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := record.Split(sliceBytes(t, s))
			if err != nil || b.BaseOffset() > o || b.LastOffset() < o {
				t.Fatalf("offset %d: batch [%d, %d], %v", o, b.BaseOffset(), b.LastOffset(), err)
			}
			s.Release()
		}
	}
	check(l)
	waitDurable(t, l)
	if n := len(l.Segments()); n < 4 {
		t.Fatalf("%d segments", n)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path, DirOptions{ClusterID: "c", NodeID: 1})
	if !d.Clean() {
		t.Fatal("no clean shutdown")
	}
	l = openLog(t, d, "topic-0", cfg)
	check(l)
	if got := l.Epochs(); len(got) != 1 || got[0] != (EpochEntry{3, 0}) {
		t.Fatalf("epochs %v", got)
	}
}
