package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"varve/internal/config"
)

// TestExampleConfig: the example in deploy is read by the loader and accepted.
func TestExampleConfig(t *testing.T) {
	set, err := loadSettings("../../deploy/varve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.NewBroker(set)
	if err != nil {
		t.Fatal(err)
	}
	if b.NodeID != 1 || b.Listen != "127.0.0.1:9092" || b.LogDirs[0] != "/var/lib/varve" || !strings.HasPrefix(b.BucketURL, "s3://") {
		t.Errorf("%+v", b)
	}
}

// TestSettings: both formats say the same, the environment wins, and what is not a setting is an error.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("VARVE_NUM_PARTITIONS", "7")
	t.Setenv("VARVE_METADATA_URL", "postgres://elsewhere")
	for _, path := range []string{
		write("a.yaml", "node.id: 3\nlog.dirs: [/a, /b]\nnum.partitions: 2\nvarve.metadata.url: postgres://here\n"),
		write("a.properties", "# comment\nnode.id=3\nlog.dirs=/a,\\\n/b\nnum.partitions = 2\nvarve.metadata.url=postgres://here\n"),
	} {
		set, err := loadSettings(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := config.NewBroker(set)
		if err != nil {
			t.Fatal(err)
		}
		if b.NodeID != 3 || len(b.LogDirs) != 2 || b.NumPartitions != 7 || b.MetadataURL != "postgres://elsewhere" {
			t.Errorf("%s: %+v", path, b)
		}
	}
	for _, path := range []string{filepath.Join(dir, "absent.yaml"), filepath.Join(dir, "absent.properties"), write("b.yaml", "log:\n  dirs: /a\n"), write("b.properties", "what\n")} {
		if _, err := loadSettings(path); err == nil || !strings.Contains(err.Error(), "--config") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
