//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// listEnds asks for the end of every partition.
func listEnds(s *scene) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	listed, err := kadm.NewClient(s.admin).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	if len(out) != partitions {
		return nil, fmt.Errorf("%d partitions listed", len(out))
	}
	return out, nil
}
