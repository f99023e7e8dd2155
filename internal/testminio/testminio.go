// Package testminio runs a real MinIO for tests, on the loopback interface, in a directory of the test's own.
package testminio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// module is the pinned server: the last state of an archived project, built by the Go toolchain.
const module = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"

// Server is one MinIO.
type Server struct {
	Endpoint             string // host:port
	AccessKey, SecretKey string

	binary, dir string
	cmd         *exec.Cmd
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{AccessKey: "varve-test", SecretKey: "varve-test-secret", dir: t.TempDir(), Endpoint: freeAddress(t)}
	var err error
	if s.binary, err = Binary(); err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	t.Cleanup(s.Stop)
	return s
}

// Restart starts the server again on the same address and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(s.binary, "server", s.dir, "--address", s.Endpoint, "--quiet")
	s.cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + s.Endpoint + "/minio/health/live")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = errors.New(resp.Status)
		}
		if time.Now().After(deadline) {
			t.Fatalf("MinIO on %s does not answer: %v", s.Endpoint, err)
		}
	}
}

// Stop ends the server; its data stays until the test ends.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // its status says only that it was told to end
	s.cmd = nil
}

// Bucket makes a bucket.
func (s *Server) Bucket(t testing.TB, name string) {
	t.Helper()
	c, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

var binary = sync.OnceValues(find)

// Binary returns the path of the server's binary: from PATH, or built once into the user's cache directory, which takes some minutes.
func Binary() (string, error) { return binary() }

func find() (string, error) {
	if path, err := exec.LookPath("minio"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cache, "varve", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(bin, "minio.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // tests of several packages build it once
		return "", err
	}
	path := filepath.Join(bin, "minio")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	install := exec.Command("go", "install", module)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	install.Dir = bin // outside any module
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building MinIO: %w\n%s", err, out)
	}
	return path, nil
}
