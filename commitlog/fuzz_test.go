package commitlog

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func goldenSeeds(f *testing.F, pattern string) {
	files, err := filepath.Glob(filepath.Join(goldenRoot, "*", "*", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds for %s: %v", pattern, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzSnapshot: any bytes are refused or read as what encodes to a snapshot that reads the same.
func FuzzSnapshot(f *testing.F) {
	goldenSeeds(f, "*.snapshot")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeProducers(b, time.UnixMilli(0), 0)
		if err != nil {
			return
		}
		again, err := decodeProducers(s.encode(), time.UnixMilli(0), 0)
		if err != nil || !slices.Equal(again.info(), s.info()) {
			t.Fatalf("%+v became %+v, %v", s.info(), again.info(), err)
		}
	})
}

// FuzzIndex: whatever is in an index file, a look-up gives a position within the segment or none, in memory as on disk.
func FuzzIndex(f *testing.F) {
	goldenSeeds(f, "*.index")
	f.Fuzz(func(t *testing.T, b []byte) {
		const size = 1 << 20
		b = b[:validOffsets(b, size)]
		x := &index{offsets: b}
		for rel := int64(-1); rel < 100; rel += 7 {
			memory := x.floor(rel)
			entry, i, err := searchFile(bytes.NewReader(b), len(b)/offsetEntrySize, offsetEntrySize, rel, offsetKey)
			disk := int64(0)
			if i >= 0 {
				disk = offsetKey(entry[4:])
			}
			if err != nil || memory != disk || memory < 0 || memory >= size {
				t.Fatalf("rel %d: position %d in memory, %d on disk, %v", rel, memory, disk, err)
			}
		}
	})
}

// FuzzCheckpoint: any text is refused or read as what encodes to the same offsets.
func FuzzCheckpoint(f *testing.F) {
	for _, name := range []string{"steady", "crash-before", "restarts"} {
		b, err := os.ReadFile(filepath.Join(goldenRoot, "logdir", name, recoveryPointName))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	goldenSeeds(f, epochCheckpointName)
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := decodeEpochs(b); err == nil {
			again, err := decodeEpochs(encodeEpochs(entries))
			if err != nil || !slices.Equal(again, entries) {
				t.Fatalf("%v became %v, %v", entries, again, err)
			}
		}
		_, _ = decodeOffsets(b)
	})
}

// FuzzRecovery: a .log of any bytes opens, ends behind its last valid batch, and takes appends.
func FuzzRecovery(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(goldenRoot, "*", "*", "00000000000000000000.log"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 2000)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := t.TempDir()
		if err := os.MkdirAll(filepath.Join(path, "topic-0"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(filepath.Join(path, "topic-0"), 0, logSuffix), b, 0o644); err != nil {
			t.Fatal(err)
		}
		d := openDir(t, path, DirOptions{NodeID: 1, Durability: Async})
		l := openLog(t, d, "topic-0", DefaultConfig())
		if int64(len(b)) < l.Size() {
			t.Fatalf("%d bytes of %d", l.Size(), len(b))
		}
		a := mustAppend(t, l, plain(2, 5), 1)
		if got := contents(t, l, a.BaseOffset, l.End()); len(got) == 0 {
			t.Fatal("what was appended is not there")
		}
		if _, _, err := l.MaxTimestamp(l.End()); err != nil {
			t.Logf("records that do not parse: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
