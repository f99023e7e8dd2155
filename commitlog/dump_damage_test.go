package commitlog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"varve/commitlog/record"
)

// TestDumpCheckpoints: sound ones entry by entry, damaged ones line by line and why.
func TestDumpCheckpoints(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, content, want string }{
		{epochCheckpointName, "0\n2\n0 0\n7 90\n", "epoch: 0 startOffset: 0\nepoch: 7 startOffset: 90\n"},
		{recoveryPointName, "0\n2\nb 0 5\na 12 7\n", "partition: a-12 offset: 7\npartition: b-0 offset: 5\n"},
		{logStartName, "0\n0\n", ""},
		{epochCheckpointName, "0\n2\n0 0\nseven\x00 90\n",
			"line 1: \"0\"\nline 2: \"2\"\nline 3: \"0 0\"\nline 4: \"seven\\x00 90\"\nPATH: malformed line \"seven\\x00 90\"\n"},
		{compactedName, "0\n3\na 0 5\n", "line 1: \"0\"\nline 2: \"3\"\nline 3: \"a 0 5\"\nPATH: 1 lines, not the 3 announced\n"},
		{compactedName, "", "PATH: empty checkpoint\n"},
		{"partition.metadata", "version: 0\n", "Ignoring unknown file PATH\n"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, _ := dumpAll(t, DumpOptions{}, path)
		if want := "Dumping " + path + "\n" + strings.ReplaceAll(c.want, "PATH", path); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestDumpSaysWhatIsWrong: each kind of damage has its line, and what is readable is shown.
func TestDumpSaysWhatIsWrong(t *testing.T) {
	b := record.NewBuilder().Add(1, []byte("k"), []byte("v")).Build()
	next := slices.Clone(b)
	next.SetBaseOffset(1)
	long, old := slices.Clone(b), slices.Clone(b)
	long[8] = 0x7f // 2 GiB
	old[16] = 1    // message format 1
	torn := slices.Clone(b)
	torn[record.HeaderSize] = 0x7e // the record's length
	snapshot := (&producers{}).encode()
	snapshot[9] = 1 << 7
	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"00000000000000000000.log", slices.Concat(b, long), []string{"count: 1 ", "Found 70 invalid bytes at the end of 00000000000000000000.log"}},
		{"00000000000000000000.log", slices.Concat(old, next), []string{"message format 1, not 2: batch of 70 bytes skipped", "baseOffset: 1 "}},
		{"00000000000000000000.log", slices.Concat(torn, next), []string{"isvalid: false", "corrupt at byte 0 (offset 0): record 0 of 1 does not fit", "baseOffset: 1 "}},
		{"00000000000000000000.log", append(make([]byte, 100), 1), []string{"corrupt at byte 0 (offset -1): found record size 0 smaller than minimum record overhead (14)"}},
		{"00000000000000000000.log", append(slices.Clone(b), make([]byte, 100)...), []string{"count: 1 ", "Found 100 zero bytes, written ahead of the end, at the end of 0"}},
		{"text.log", b, []string{"the name does not begin with an offset", "baseOffset: 0 "}},
		{"00000000000000000005.index", []byte{0, 0, 0, 1, 0, 0, 0, 2, 9}, []string{"not compared with its .log: ", "offset: 6 position: 2", "the last entry is cut short"}},
		{"00000000000000000005.timeindex", make([]byte, 13), []string{"timestamp: 0 offset: 5", "the last entry is cut short"}},
		{"00000000000000000005.txnindex", []byte(strings.Repeat("x", 40)), []string{"entry of version 30840, not 0"}},
		{"00000000000000000005.snapshot", snapshot, []string{"the snapshot's CRC does not match"}},
		{"00000000000000000005.snapshot", nil, []string{"snapshot of 0 bytes"}},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, _ := dumpAll(t, DumpOptions{Data: true}, path)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s of %q: no %q in\n%s", c.name, c.data, want, got)
			}
		}
	}
	if got, err := dumpAll(t, DumpOptions{}, filepath.Join(t.TempDir(), "gone.log")); err == nil || !strings.Contains(got, "no such file") {
		t.Errorf("%v\n%s", err, got)
	}
	huge := filepath.Join(t.TempDir(), epochCheckpointName)
	if err := errors.Join(os.WriteFile(huge, nil, 0o644), os.Truncate(huge, smallFile+1)); err != nil {
		t.Fatal(err)
	}
	if got, err := dumpAll(t, DumpOptions{}, huge); err == nil || !strings.Contains(got, "are too many for such a file") {
		t.Errorf("%v\n%s", err, got)
	}
	insane := []byte{0x80, 0, 0, 0, 0, 0, 0, 2}
	path := filepath.Join(t.TempDir(), "00000000000000000005.index")
	if err := os.WriteFile(path, insane, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := dumpAll(t, DumpOptions{SanityOnly: true}, path); err == nil || !strings.Contains(got, "less than the base offset 5") {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestDumpHostile damages and cuts golden files anywhere: nothing panics, loops or takes much memory, whatever the bytes say.
func TestDumpHostile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"transactional", "zstd", "gzip", "lz4", "snappy"} {
		dir := filepath.Join(copyGolden(t, name, name), name+"-0")
		for _, path := range append(dumpable(t, dir), filepath.Join(dir, epochCheckpointName)) {
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 12 {
				data := slices.Clone(sound)
				for range 1 + rng.IntN(4) {
					if len(data) > 0 {
						data[rng.IntN(len(data))] = byte(rng.Uint32())
					}
				}
				data = data[:rng.IntN(len(data)+1)]
				if rng.IntN(4) == 0 {
					for i := range data {
						data[i] = byte(rng.Uint32())
					}
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
				dumpAll(t, DumpOptions{Data: true}, path)
			}
			if err := os.WriteFile(path, sound, 0o644); err != nil {
				t.Fatal(err)
			}
			dumpAll(t, DumpOptions{SanityOnly: true}, path)
		}
	}
}

// TestDumpAllocates as much as the file has, not what it says.
func TestDumpAllocates(t *testing.T) {
	b := record.NewBuilder().Add(1, nil, make([]byte, 100)).Build()
	b[8] = 0x7f               // 2 GiB long
	b[57], b[58] = 0x7f, 0xff // and as many records
	snapshot := (&producers{}).encode()
	snapshot[6] = 0x7f
	dir := t.TempDir()
	var paths []string
	for name, data := range map[string][]byte{
		"00000000000000000000.log": b, "00000000000000000000.snapshot": snapshot, epochCheckpointName: []byte("0\n2147483647\n"),
		recoveryPointName: []byte("0\n2147483647\n"), "00000000000000000000.txnindex": bytes.Repeat([]byte{0xff}, 34),
	} {
		paths = append(paths, filepath.Join(dir, name))
		if err := os.WriteFile(paths[len(paths)-1], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	dumpAll(t, DumpOptions{Data: true}, paths...)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated for files of a few hundred", n)
	}
}
