//go:build e2e

package demo

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"varve/internal/testcluster"
	"varve/internal/testminio"
	"varve/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m).Run()) }

func runDemo(t *testing.T, b *testcluster.Broker) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testcluster.Binary(t), "demo", "--bootstrap", b.Addr, "--http", b.HTTP, "--timeout", "2m")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestDev is the first thing that a person does.
func TestDev(t *testing.T) { runDemo(t, testcluster.StartDev(t, t.TempDir())) }

// TestBuckets: `varve broker` with a given Postgres, on every driver against a real store.
func TestBuckets(t *testing.T) {
	s := testminio.Start(t)
	s.Bucket(t, "varve")
	for name, bucket := range map[string]string{
		"s3":    "s3://varve/by-s3?path-style=true&region=us-east-1&endpoint=" + url.QueryEscape("http://"+s.Endpoint),
		"minio": "minio://varve/by-minio?secure=false&endpoint=" + s.Endpoint,
		"file":  "file://" + filepath.ToSlash(t.TempDir()),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "varve.yaml")
			text := fmt.Sprintf(`node.id: 1
listeners: PLAINTEXT://127.0.0.1:0
varve.http.listen: 127.0.0.1:0
log.dirs: %s
varve.metadata.url: "%s"
varve.bucket.url: "%s"
remote.log.manager.task.interval.ms: 500
log.retention.check.interval.ms: 500
`, filepath.Join(dir, "log"), testpg.EmptyURL(t), bucket)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			runDemo(t, testcluster.StartBroker(t, dir, config, "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
				"AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey))
		})
	}
}
