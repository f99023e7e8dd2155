package commitlog

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"varve/commitlog/record"
)

// dumpAll dumps the files, out and errs together as a terminal has them.
func dumpAll(t *testing.T, o DumpOptions, paths ...string) (text string, problems error) {
	t.Helper()
	var out bytes.Buffer
	d := NewDumper(&out, &out, o)
	for _, path := range paths {
		if err := d.File(context.Background(), path); err != nil {
			t.Fatal(err)
		}
	}
	problems = d.Finish()
	return out.String(), problems
}

// dumpable lists the files in dir that Kafka's tool knows, in order.
func dumpable(t *testing.T, dir string) (paths []string) {
	t.Helper()
	for name := range readFiles(t, dir) {
		if _, ok := anyBase(name); ok {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	slices.Sort(paths)
	return paths
}

// sortFindings brings the findings at the end of a dump into an order: Kafka's tool prints files as a hash map of their absolute paths has them.
func sortFindings(text string) string {
	var body, blocks []string
	for line := range strings.Lines(text) {
		switch {
		case isTitle(line):
			blocks = append(blocks, line)
		case len(blocks) > 0:
			blocks[len(blocks)-1] += line
		default:
			body = append(body, line)
		}
	}
	slices.Sort(blocks)
	return strings.Join(append(body, blocks...), "")
}

func isTitle(line string) bool {
	for _, f := range findingTexts {
		if strings.HasPrefix(line, f.title) {
			return true
		}
	}
	return false
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "want " + w[i]
		}
	}
	return "got  " + strings.Join(g[min(len(g), len(w)):], "") + "want " + strings.Join(w[min(len(g), len(w)):], "")
}

// TestDumpGolden prints every golden case as Kafka's tool printed it. Where that tool died, it must be the same up to there, and go on.
func TestDumpGolden(t *testing.T) {
	folders := slices.Clone(goldenCases)
	for _, name := range crashCases {
		folders = append(folders, name+"-before", name+"-after")
	}
	died := 0
	for _, folder := range folders {
		t.Run(folder, func(t *testing.T) {
			name := strings.TrimSuffix(strings.TrimSuffix(folder, "-before"), "-after")
			t.Chdir(copyGolden(t, folder, name))
			if folder == "corrupt-index-before" { // Kafka's tool made it, empty, before it died of it
				if err := os.Remove(filepath.Join(name+"-0", "00000000000000000000.index")); err != nil {
					t.Fatal(err)
				}
			}
			expected, err := os.ReadFile("expected.txt")
			if err != nil {
				t.Fatal(err)
			}
			want, why, dies := strings.Cut(string(expected), "Exception in thread \"main\" ")
			paths := dumpable(t, name+"-0")
			got, problems := dumpAll(t, DumpOptions{Data: true}, paths...)
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			got = strings.ReplaceAll(got, here+"/", "")
			if !dies {
				if got, want = sortFindings(got), sortFindings(want); got != want || problems != nil {
					t.Fatalf("%v\n%s", problems, firstDifference(got, want))
				}
				return
			}
			died++
			rest, ok := strings.CutPrefix(got, want)
			if !ok {
				t.Fatal(firstDifference(got, want))
			}
			first, _, _ := strings.Cut(rest, "\n")
			t.Logf("Kafka's tool: %s\nours:         %s", strings.SplitN(why, "\n", 2)[0], first)
			if strings.Contains(first, "zero bytes, written ahead of the end, at the end of") { // Varve writes such files itself
				if problems != nil || !strings.Contains(why, "Found record size 0") {
					t.Errorf("%v, where Kafka's tool dies of %q", problems, why)
				}
			} else if problems == nil || !strings.HasPrefix(first, name+"-0/") {
				t.Errorf("%v, and where Kafka's tool dies of %q we say %q", problems, why, first)
			}
			for _, path := range paths {
				if !strings.Contains(got, "Dumping "+path+"\n") {
					t.Errorf("%s is not dumped", path)
				}
			}
		})
	}
	if died != 4 {
		t.Errorf("Kafka's tool died in %d cases, not 4", died)
	}
}

// copyGolden copies the partition and the expected.txt of a case into a new folder.
func copyGolden(t *testing.T, folder, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, name+"-0"), os.DirFS(filepath.Join(goldenRoot, folder, name+"-0"))); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(goldenRoot, folder, "expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "expected.txt"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDumpAsKafkaDumps compares with Kafka's tool itself, option by option, over sound and wrong indexes and odd text.
func TestDumpAsKafkaDumps(t *testing.T) {
	libs := kafkaLibs(t)
	var paths []string
	for _, c := range []struct{ folder, name string }{
		{"transactional", "transactional"}, {"compacted-deleted", "compacted-deleted"}, {"zstd", "zstd"},
		{"logappendtime", "logappendtime"}, {"empty", "empty"}, {"crash-before", "crash"},
	} {
		paths = append(paths, dumpable(t, filepath.Join(copyGolden(t, c.folder, c.name), c.name+"-0"))...)
	}
	paths = append(append(oddSegment(t), writtenHere(t)...), paths...)
	preallocated := slices.IndexFunc(paths, func(p string) bool { return strings.Contains(p, "crash-0") })
	for _, c := range []struct {
		args []string
		o    DumpOptions
	}{
		{nil, DumpOptions{}},
		{[]string{"--index-sanity-check"}, DumpOptions{SanityOnly: true}},
		{[]string{"--verify-index-only"}, DumpOptions{VerifyOnly: true}},
		{[]string{"--deep-iteration"}, DumpOptions{Deep: true}},
		{[]string{"--print-data-log", "--skip-record-metadata"}, DumpOptions{Data: true, SkipMetadata: true}},
		{[]string{"--print-data-log", "--max-bytes", "1500"}, DumpOptions{Data: true, MaxBytes: 1500}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			paths := paths
			if c.o.SanityOnly {
				paths = paths[:preallocated] // Kafka's tool dies of pre-allocated time indexes
			}
			args := append([]string{"-Xmx256m", "-Dstdout.encoding=UTF-8", "-cp", libs, "org.apache.kafka.tools.DumpLogSegments",
				"--files", strings.Join(paths, ",")}, c.args...)
			cmd := exec.Command("java", args...)
			var stdout, stderr, out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			d := NewDumper(&out, &errs, c.o)
			for _, path := range paths {
				if err := d.File(context.Background(), path); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Finish(); err != nil {
				t.Error(err)
			}
			if out.String() != stdout.String() {
				t.Error(firstDifference(out.String(), stdout.String()))
			}
			if got, want := sortFindings(errs.String()), sortFindings(stderr.String()); got != want {
				t.Error(firstDifference(got, want))
			}
		})
	}
}

// writtenHere lists the files of a partition that this package wrote: transactions over small segments.
func writtenHere(t *testing.T) []string {
	t.Helper()
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range int32(12) {
		b := record.NewBuilder()
		b.Codec, b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = record.Codec(i%5), 7, 0, 5*i, true
		for j := range int64(5) {
			b.Add(future+j, []byte("key"), bytes.Repeat([]byte("varve "), 20))
		}
		mustAppend(t, l, b.Build(), 2)
		if i%3 == 2 {
			mustAppend(t, l, marker(7, 0, i%2 == 0, 1), 2)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dumpable(t, l.path)
}

// oddSegment writes a segment of text that is no UTF-8, a marker of an unknown type and a batch out of order, with indexes that are wrong about it.
func oddSegment(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch = 10, 3
	for _, s := range oddTexts {
		b.Add(1700000000000, []byte(s), []byte("é☃😀"+s+"end"), record.Header{Key: "h" + s})
	}
	c := record.NewBuilder()
	c.BaseOffset, c.ProducerID, c.ProducerEpoch, c.Transactional, c.Control = 60, 5, 1, true, true
	c.Add(1700000000007, []byte{0, 0, 0, 99}, []byte("whatever"))
	first, second := b.Build(), c.Build()
	third := slices.Clone(second)
	third.SetBaseOffset(70)
	x := index{}
	x.add(49, 0, 1700000000005, 8)                                // no batch ends there
	x.add(50, uint32(len(first)), 1700000000006, 50)              // and a wrong timestamp
	x.add(51, uint32(len(first)+len(second)), 1700000000009, 300) // behind everything
	var paths []string
	for name, data := range map[string][]byte{
		"00000000000000000010.log":       slices.Concat(first, second, first, third),
		"00000000000000000010.index":     x.offsets,
		"00000000000000000010.timeindex": slices.Concat(x.times[:2*timeEntrySize], x.times[timeEntrySize:]), // one entry twice
		"00000000000000000100.log":       slices.Concat(first, make([]byte, leastHeader)),
		"00000000000000000200.log":       slices.Concat(first, second[:len(second)-1]),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

var oddTexts = []string{"\xff", "\xe2\x82", "\xe2\x82A", "\xed\xa0\x80", "\xed\xa0", "\xed\xa0A", "\xf0\x9f\x98", "\xf0\x9f\x98A\x80", "\xf0\x80\x80\x80",
	"\xc0\xaf", "\xf4\x90\x80\x80", "\xe0\x80\x80", "A\x80B", "\xf8\x88\x80\x80\x80", ""}
