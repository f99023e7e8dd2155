package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// AlterReassignments starts, replaces and cancels reassignments; index i of the result belongs to changes[i]. A partition that is named
// twice is changed twice, in order. Errors per partition: UNKNOWN_TOPIC_OR_PARTITION, and those of metadata.Reassign.
func (s *Store) AlterReassignments(ctx context.Context, changes []metadata.ReassignmentChange, allowFactorChange bool) ([]error, error) {
	var out []error
	err := s.change(ctx, adminOp("alter reassignments"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		out = make([]error, len(changes))
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		tps := make([]metadata.TopicPartition, len(changes))
		for i, c := range changes {
			tps[i] = c.TopicPartition
		}
		locked, err := lockSome(ctx, tx, tps)
		if err != nil {
			return false, err
		}
		minISR, err := s.minISR(ctx, tx, locked)
		if err != nil {
			return false, err
		}
		now := make(map[metadata.TopicPartition]*metadata.Partition, len(locked))
		for _, p := range locked {
			now[p.TopicPartition] = p
		}
		for i, c := range changes {
			p := now[c.TopicPartition]
			if p == nil {
				out[i] = fmt.Errorf("%w: %s", kerr.UnknownTopicOrPartition, c.TopicPartition)
				continue
			}
			next, err := metadata.Reassign(p, c, brokers, allowFactorChange, minISR(c.TopicID))
			if out[i] = err; err == nil {
				now[c.TopicPartition] = next
			}
		}
		var changed []*metadata.Partition
		for _, p := range locked {
			if next := now[p.TopicPartition]; next != p {
				changed = append(changed, next)
			}
		}
		return len(changed) > 0, savePartitions(ctx, tx, changed)
	})
	return out, err
}
