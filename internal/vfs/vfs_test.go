package vfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestHookRefuses(t *testing.T) {
	f := Hooked(func(op Op) error {
		if op.Kind == Write {
			return syscall.ENOSPC
		}
		return nil
	})
	file, err := f.Create(filepath.Join(t.TempDir(), "a"))
	must(t, err)
	if _, err := file.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write: %v", err)
	}
	if n, err := file.Size(); n != 0 || err != nil {
		t.Fatalf("a refused write left %d bytes, %v", n, err)
	}
	must(t, file.Sync())
	must(t, file.Close())
}

// TestPowerLoss keeps what was synced, and nothing else that is certain.
func TestPowerLoss(t *testing.T) {
	root := t.TempDir()
	j := NewJournal(root)
	f := j.FS()
	file, err := f.Create(filepath.Join(root, "log"))
	must(t, err)
	_, err = file.WriteAt([]byte("first"), 0)
	must(t, err)
	must(t, file.Sync())
	beforeName := j.Len()
	must(t, f.SyncDir(root))
	_, err = file.WriteAt([]byte("second"), 5)
	must(t, err)
	unsynced := j.Len()
	must(t, file.Sync())
	must(t, f.Rename(filepath.Join(root, "log"), filepath.Join(root, "old")))
	renamed := j.Len()
	must(t, f.SyncDir(root))
	must(t, file.Close())

	after := func(n int, name string) string {
		to := filepath.Join(t.TempDir(), "crashed")
		must(t, j.Crash(n, to, nil))
		b, err := os.ReadFile(filepath.Join(to, name))
		if errors.Is(err, os.ErrNotExist) {
			return "absent"
		}
		must(t, err)
		return string(b)
	}
	for _, c := range []struct {
		n          int
		name, want string
	}{
		{beforeName, "log", "absent"}, {unsynced, "log", "first"}, {renamed, "log", "firstsecond"},
		{renamed, "old", "absent"}, {j.Len(), "old", "firstsecond"}, {j.Len(), "log", "absent"},
	} {
		if got := after(c.n, c.name); got != c.want {
			t.Errorf("after %d operations %s holds %q, not %q", c.n, c.name, got, c.want)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(64) {
		to := filepath.Join(t.TempDir(), "crashed")
		must(t, j.Crash(unsynced, to, rand.New(rand.NewPCG(seed, 0))))
		b, err := os.ReadFile(filepath.Join(to, "log"))
		must(t, err)
		seen[string(b)] = true
	}
	if !seen["first"] || !seen["firstsecond"] || len(seen) < 3 {
		t.Errorf("by chance a crash leaves only %v", seen)
	}
}

func TestWriteFileReplacesInOneStep(t *testing.T) {
	root := t.TempDir()
	j := NewJournal(root)
	path := filepath.Join(root, "file")
	must(t, j.FS().WriteFile(path, []byte("old"), true))
	done := j.Len()
	must(t, j.FS().WriteFile(path, []byte("new and longer"), true))
	for n := done; n <= j.Len(); n++ {
		for seed := range uint64(8) {
			to := filepath.Join(t.TempDir(), "crashed")
			must(t, j.Crash(n, to, rand.New(rand.NewPCG(seed, uint64(n)))))
			b, err := os.ReadFile(filepath.Join(to, "file"))
			must(t, err)
			if s := string(b); s != "old" && s != "new and longer" || n == j.Len() && s == "old" {
				t.Fatalf("after %d of %d operations the file holds %q", n, j.Len(), s)
			}
		}
	}
}
