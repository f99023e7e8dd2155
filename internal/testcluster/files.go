package testcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// find returns the directory of the first entry below dir that ok says yes to.
func find(t testing.TB, dir, what string, ok func(path string, d fs.DirEntry) bool) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went while we looked
		case err != nil:
			return err
		case ok(path, d):
			found = filepath.Dir(path)
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == "" {
		t.Fatalf("no %s below %s", what, dir)
	}
	return found
}

// LogDir is the log directory: the one that holds the directories of partitions.
func (b *Broker) LogDir(t testing.TB) string {
	t.Helper()
	return filepath.Dir(find(t, b.Dir, "partition", func(path string, d fs.DirEntry) bool {
		return filepath.Ext(path) == ".log" && len(filepath.Base(path)) == len("00000000000000000000.log")
	}))
}

// BucketDir is the directory that serves as the bucket.
func (b *Broker) BucketDir(t testing.TB) string {
	t.Helper()
	return find(t, b.Dir, "bucket", func(path string, d fs.DirEntry) bool { return d.Name() == "varve-owner" })
}

// Segments are the base offsets of a partition's local segments, in order.
func (b *Broker) Segments(t testing.TB, topic string, partition int32) []int64 {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(b.LogDir(t), fmt.Sprintf("%s-%d", topic, partition), "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var bases []int64
	for _, name := range names {
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, base)
	}
	slices.Sort(bases)
	return bases
}
