package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// producerIDBlockSize is Kafka's ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE.
const producerIDBlockSize = 1000

// ClusterID returns the cluster's identity, which the first to ask creates.
func (s *Store) ClusterID(ctx context.Context) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.change(ctx, brokerOp("cluster id"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, `INSERT INTO cluster (id, cluster_id) VALUES (1, $1) ON CONFLICT DO NOTHING`, uuid.New())
		if err != nil {
			return false, err
		}
		return tag.RowsAffected() > 0, tx.QueryRow(ctx, `SELECT cluster_id FROM cluster`).Scan(&id)
	})
	return id, err
}

// ProducerIDBlock hands out producer ids [first, first+size), never to be handed out again. After an error whose
// outcome is unknown the block is lost: there are 2^63.
func (s *Store) ProducerIDBlock(ctx context.Context) (first, size int64, err error) {
	o := op{"producer id block", kerr.CoordinatorLoadInProgress}
	err = s.update(ctx, o, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `UPDATE producer_id_block SET next = next + $1 RETURNING next - $1`, int64(producerIDBlockSize)).Scan(&first)
	})
	return first, producerIDBlockSize, err
}

func int32s(ids []metadata.BrokerID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}

func brokerIDs(ids []int32) []metadata.BrokerID {
	out := make([]metadata.BrokerID, len(ids))
	for i, id := range ids {
		out[i] = metadata.BrokerID(id)
	}
	return out
}
