// Package testminio runs a real MinIO for tests, on the loopback interface, in a directory of the test's own.
package testminio

import (
	"bytes"
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
	output      bytes.Buffer  // of the running process; read it after exited
	exited      chan struct{} // closed when the process has ended
}

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	// startTries is how many free ports are tried: another process may take one before the server does.
	startTries = 3
)

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{AccessKey: "varve-test", SecretKey: "varve-test-secret", dir: t.TempDir()}
	var err error
	if s.binary, err = Binary(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for try := 1; ; try++ {
		s.Endpoint = freeAddress(t)
		if err = s.run(); err == nil {
			return s
		}
		if try == startTries {
			t.Fatal(err)
		}
	}
}

// Restart starts the server again, after Stop, on the same address and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	s.output.Reset()
	s.cmd = exec.Command(s.binary, "server", s.dir, "--address", s.Endpoint, "--quiet")
	s.cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	s.cmd.SysProcAttr = dieWithParent()
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // its status says only that it was told to end
		close(exited)
	}(s.cmd, s.exited)
	for deadline := time.Now().Add(startTimeout); ; {
		err := s.ready()
		select {
		case <-s.exited: // even if someone answers: it is another one on this port
			s.cmd = nil
			return fmt.Errorf("MinIO on %s ended:\n%s", s.Endpoint, s.output.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("MinIO on %s does not answer: %w\n%s", s.Endpoint, err, s.output.Bytes())
		}
	}
}

func (s *Server) ready() error {
	resp, err := http.Get("http://" + s.Endpoint + "/minio/health/live")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Stop ends the server; its data stays until the test ends.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

// Bucket makes a bucket.
func (s *Server) Bucket(t testing.TB, name string) {
	t.Helper()
	if err := s.client(t).MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Unfinished returns how many uploads in parts of the object were begun and neither completed nor aborted.
func (s *Server) Unfinished(t testing.TB, bucket, object string) (n int) {
	t.Helper()
	for upload := range s.client(t).ListIncompleteUploads(context.Background(), bucket, object, true) {
		if upload.Err != nil {
			t.Fatal(upload.Err)
		}
		n++
	}
	return n
}

func (s *Server) client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return c
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
