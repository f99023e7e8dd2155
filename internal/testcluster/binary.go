package testcluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Root is the directory of go.mod, above the package under test.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("testcluster: no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

var build struct {
	once sync.Once
	path string
	err  error
}

// Binary is the path of varve, built from this tree at the first call. VARVE_BINARY names one that is built already.
func Binary(t testing.TB) string {
	t.Helper()
	root := Root(t)
	build.once.Do(func() {
		if build.path = os.Getenv("VARVE_BINARY"); build.path != "" {
			return
		}
		// The name holds the process id: test processes of several packages run at the same time.
		build.path = filepath.Join(os.TempDir(), fmt.Sprintf("varve-e2e-%d", os.Getpid()))
		cmd := exec.Command("go", "build", "-o", build.path, "./cmd/varve")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("go build ./cmd/varve: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Main runs a package's tests and removes the built binary: func TestMain(m *testing.M) { testcluster.Main(m) }. With a cluster, it is
// testcluster.Main(testpg.Main(m)).
func Main(m interface{ Run() int }) {
	code := m.Run()
	if build.path != "" && os.Getenv("VARVE_BINARY") == "" {
		os.Remove(build.path)
	}
	os.Exit(code)
}
