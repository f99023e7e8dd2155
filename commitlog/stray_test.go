package commitlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStrayLogsAreMovedAside: what is assigned stays, what is open stays, the rest is renamed, and a log of the name can be made anew.
func TestStrayLogsAreMovedAside(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1})
	for _, name := range []string{"kept-0", "gone-0", "gone-1"} {
		mustAppend(t, openLog(t, d, name, DefaultConfig()), plain(3, 1), 0)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path, DirOptions{NodeID: 1})
	openLog(t, d, "gone-1", DefaultConfig())
	moved, err := d.SetAside(func(name string) bool { return name == "kept-0" })
	if err != nil || moved != 1 {
		t.Fatal(moved, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	strays := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "gone-0.") && strings.HasSuffix(e.Name(), strayDir) {
			strays++
			if _, err := os.Stat(filepath.Join(path, e.Name(), "00000000000000000000.log")); err != nil {
				t.Error(err)
			}
		}
	}
	if strays != 1 || d.Has("gone-0") || !d.Has("kept-0") || !d.Has("gone-1") {
		t.Fatalf("%d strays, %v", strays, entries)
	}
	if l := openLog(t, d, "gone-0", DefaultConfig()); l.End() != 0 {
		t.Fatal("a new log has old records")
	}
}
