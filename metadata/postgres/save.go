package postgres

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// partitionColumns are partitions turned into one array per column: Postgres takes thousands of them in one statement.
// Columns that are arrays themselves travel as text, since arrays of arrays cannot have rows of different lengths.
type partitionColumns struct {
	topics                                          []metadata.TopicID
	indexes, leaders, leaderEpochs, partitionEpochs []int32
	recovery                                        []int16
	replicas, isr, elr, lastKnown, adding, removing []string
	dirs                                            []string
}

// savePartitions writes what elections, in-sync sets and reassignments change of partitions that are locked already.
// No partition may be named twice.
func savePartitions(ctx context.Context, tx pgx.Tx, changed []*metadata.Partition) error {
	if len(changed) == 0 {
		return nil
	}
	var c partitionColumns
	for _, p := range changed {
		c.add(p)
	}
	_, err := tx.Exec(ctx, `UPDATE partition p SET leader = n.leader, leader_epoch = n.leader_epoch, partition_epoch = n.partition_epoch,
			recovery = n.recovery, replicas = n.replicas::int[], isr = n.isr::int[], elr = n.elr::int[],
			last_known_elr = n.last_known_elr::int[], adding = n.adding::int[], removing = n.removing::int[], dirs = n.dirs::uuid[]
		FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::smallint[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::text[], $13::text[]) AS n (topic_id, partition, leader, leader_epoch, partition_epoch,
			recovery, replicas, isr, elr, last_known_elr, adding, removing, dirs)
		WHERE p.topic_id = n.topic_id AND p.partition = n.partition`,
		c.topics, c.indexes, c.leaders, c.leaderEpochs, c.partitionEpochs, c.recovery, c.replicas, c.isr, c.elr,
		c.lastKnown, c.adding, c.removing, c.dirs)
	return err
}

func (c *partitionColumns) add(p *metadata.Partition) {
	c.topics = append(c.topics, p.TopicID)
	c.indexes = append(c.indexes, p.TopicPartition.Partition)
	c.leaders = append(c.leaders, int32(p.Leader))
	c.leaderEpochs = append(c.leaderEpochs, p.LeaderEpoch)
	c.partitionEpochs = append(c.partitionEpochs, p.PartitionEpoch)
	c.recovery = append(c.recovery, int16(p.Recovery))
	c.replicas = append(c.replicas, idArray(p.Replicas))
	c.isr = append(c.isr, idArray(p.ISR))
	c.elr = append(c.elr, idArray(p.ELR))
	c.lastKnown = append(c.lastKnown, idArray(p.LastKnownELR))
	c.adding = append(c.adding, idArray(p.Adding))
	c.removing = append(c.removing, idArray(p.Removing))
	dirs := make([]string, len(p.Dirs))
	for i, d := range p.Dirs {
		dirs[i] = d.String()
	}
	c.dirs = append(c.dirs, arrayText(dirs))
}

func idArray(ids []metadata.BrokerID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return arrayText(words)
}

// arrayText is Postgres's text form of an array of words that need no quotes.
func arrayText(words []string) string { return "{" + strings.Join(words, ",") + "}" }
