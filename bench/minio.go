package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"varve/internal/pgserver"
	"varve/internal/testminio"
)

const (
	minioUser, minioPassword = "varve-bench", "varve-bench-secret"
	minioWait                = 30 * time.Second
)

// startVarveOnMinIO runs `varve broker` with a Postgres and a MinIO of its own, whose CPU is not counted.
func startVarveOnMinIO(binary, dir string) (*broker, error) {
	pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return nil, err
	}
	minio, endpoint, err := startMinIO(dir)
	if err != nil {
		return nil, errors.Join(err, pg.Stop())
	}
	end := func() error {
		_ = minio.Process.Signal(syscall.SIGTERM)
		_ = minio.Wait() // its status says only that it was told to end
		return pg.Stop()
	}
	config := filepath.Join(dir, "varve.yaml")
	text := fmt.Sprintf("node.id: 1\nlisteners: PLAINTEXT://127.0.0.1:0\nvarve.http.listen: 127.0.0.1:0\nlog.dirs: %q\nvarve.metadata.url: %q\n"+
		"varve.bucket.url: \"minio://varve?secure=false&endpoint=%s\"\nremote.log.manager.task.interval.ms: 1000\nlog.retention.check.interval.ms: 1000\n",
		filepath.Join(dir, "log"), pg.URL(), endpoint)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, end())
	}
	b, err := startVarve(binary, dir, "broker", "--config", config)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	stop := b.stop
	b.stop = func() error { return errors.Join(stop(), end()) }
	return b, nil
}

// startMinIO runs a MinIO with the bucket "varve" below dir.
func startMinIO(dir string) (*exec.Cmd, string, error) {
	binary, err := testminio.Binary()
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(dir, "minio")
	if err := os.MkdirAll(filepath.Join(data, "varve"), 0o755); err != nil { // a directory is a bucket
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	endpoint := l.Addr().String()
	l.Close()
	os.Setenv("MINIO_ROOT_USER", minioUser)
	os.Setenv("MINIO_ROOT_PASSWORD", minioPassword)
	cmd := exec.Command(binary, "server", data, "--address", endpoint, "--quiet")
	cmd.Env = append(os.Environ(), "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	for deadline := time.Now().Add(minioWait); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + endpoint + "/minio/health/live")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return cmd, endpoint, nil
			}
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			return nil, "", fmt.Errorf("MinIO on %s does not answer: %w", endpoint, errors.Join(err, cmd.Wait()))
		}
	}
}
