//go:build e2e

package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"varve/commitlog/record"
	"varve/internal/historycheck"
	"varve/internal/testcluster"
)

// compareReplicas stops the cluster cleanly and reads each replica's own log files.
func (s *scene) compareReplicas() {
	s.t.Helper()
	replicas := map[int32][]int32{}
	for _, t := range s.metadata().Topics {
		for _, p := range t.Partitions {
			replicas[p.Partition] = p.Replicas
		}
	}
	s.awaitNoStrays(replicas)
	s.StopAll(s.t)
	compared := 0
	for p := range int32(partitions) {
		var copies []historycheck.Copy
		for _, id := range replicas[p] {
			batches, err := readLog(filepath.Join(s.LogDir(int(id)), fmt.Sprintf("%s-%d", topic, p)))
			if err != nil {
				s.t.Errorf("partition %d of broker %d: %v", p, id, err)
				continue
			}
			c, err := historycheck.NewCopy(fmt.Sprintf("broker %d", id), batches)
			if err != nil {
				s.t.Errorf("partition %d: %v", p, err)
			}
			copies = append(copies, c)
		}
		if len(copies) < 3 {
			s.t.Errorf("partition %d: %d replicas %v", p, len(copies), replicas[p])
			continue
		}
		compared += s.history.Replicas(p, copies)
	}
	s.t.Logf("%d records compared in the replicas' own files", compared)
}

// awaitNoStrays waits until no broker has the log of a partition that it has no replica of any more.
func (s *scene) awaitNoStrays(replicas map[int32][]int32) {
	s.t.Helper()
	testcluster.Eventually(s.t, wait, func() error {
		for p, ids := range replicas {
			for i := range s.Brokers() {
				dir := filepath.Join(s.LogDir(i+1), fmt.Sprintf("%s-%d", topic, p))
				if _, err := os.Stat(dir); err == nil && !slices.Contains(ids, int32(i+1)) {
					return fmt.Errorf("%s is still there, and the replicas are %v", dir, ids)
				}
			}
		}
		return nil
	})
}

// readLog reads the batches of a log directory in the order of their offsets.
func readLog(dir string) ([]record.Batch, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	if len(segments) == 0 {
		return nil, errors.New("no segments in " + dir)
	}
	slices.Sort(segments)
	var batches []record.Batch
	for _, path := range segments {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for len(data) >= record.HeaderSize && binary.BigEndian.Uint32(data[8:]) != 0 { // zeros may be written ahead of the end
			b, rest, err := record.Split(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			batches, data = append(batches, b), rest
		}
	}
	return batches, nil
}
