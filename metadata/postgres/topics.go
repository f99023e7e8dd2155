package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// CreatedTopic is metadata's: package server, which may not import this one, names it in the interface it declares.
type CreatedTopic = metadata.CreatedTopic

// CreateTopics creates topics in one transaction; index i of the result belongs to topic i. Errors per topic:
// TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION when the name collides with another ('.' counts as '_'),
// INVALID_REPLICA_ASSIGNMENT when a replica is not registered or no replica of a partition is live.
// validateOnly checks all of it and changes nothing.
func (s *Store) CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	var out []CreatedTopic
	err := s.change(ctx, adminOp("create topics"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		out = make([]CreatedTopic, len(topics))
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		// In the order of names, so that two creators of several topics do not wait for each other.
		order := make([]int, len(topics))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(topics[a].Name, topics[b].Name) })
		changed := false
		for _, i := range order {
			out[i].ID, err = createTopic(ctx, tx, topics[i], brokers)
			var kafka *kerr.Error
			if errors.As(err, &kafka) {
				out[i].Err = err
				continue
			}
			if err != nil {
				return false, err
			}
			changed = true
		}
		if validateOnly {
			return false, errRollback
		}
		return changed, nil
	})
	return out, err
}

func createTopic(ctx context.Context, tx pgx.Tx, t metadata.NewTopic, brokers map[metadata.BrokerID]*metadata.Broker) (metadata.TopicID, error) {
	id := uuid.New()
	partitions, err := newPartitions(id, 0, t.Assignment, brokers)
	if err != nil {
		return uuid.Nil, err
	}
	for k, v := range t.Configs {
		if !storable(k) || !storable(v) {
			return uuid.Nil, fmt.Errorf("%w: %q of topic %s is not valid UTF-8", kerr.InvalidConfig, k, t.Name)
		}
	}
	if err := insertTopic(ctx, tx, id, t.Name); err != nil {
		return uuid.Nil, err
	}
	for k, v := range t.Configs {
		if _, err := tx.Exec(ctx, `INSERT INTO topic_config (topic_id, name, value) VALUES ($1, $2, $3)`, id, k, v); err != nil {
			return uuid.Nil, err
		}
	}
	return id, insertPartitions(ctx, tx, partitions)
}

// storable reports whether Postgres can keep s as text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func insertTopic(ctx context.Context, tx pgx.Tx, id metadata.TopicID, name string) error {
	if !storable(name) {
		return fmt.Errorf("%w: %q", kerr.InvalidTopicException, name)
	}
	// ON CONFLICT waits for another creator of the name and does not abort the transaction.
	tag, err := tx.Exec(ctx, `INSERT INTO topic (topic_id, name, name_norm) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		id, name, strings.ReplaceAll(name, ".", "_"))
	if err != nil || tag.RowsAffected() > 0 {
		return err
	}
	var other string
	err = tx.QueryRow(ctx, `SELECT name FROM topic WHERE name_norm = $1`, strings.ReplaceAll(name, ".", "_")).Scan(&other)
	if err == nil && other != name {
		return fmt.Errorf("%w: topic %q collides with existing topic %q", kerr.InvalidTopicException, name, other)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return fmt.Errorf("%w: topic %q", kerr.TopicAlreadyExists, name)
}

// newPartitions returns partitions [from, from+len(assignment)) of topic id: led by the first live replica, with all
// live ones in the ISR.
func newPartitions(id metadata.TopicID, from int, assignment [][]metadata.BrokerID, brokers map[metadata.BrokerID]*metadata.Broker) ([]*metadata.Partition, error) {
	out := make([]*metadata.Partition, 0, len(assignment))
	for i, replicas := range assignment {
		p := &metadata.Partition{
			TopicPartition: metadata.TopicPartition{TopicID: id, Partition: int32(from + i)},
			Replicas:       replicas,
			Dirs:           make([]metadata.DirID, len(replicas)),
		}
		for r, b := range replicas {
			if brokers[b] == nil {
				return nil, fmt.Errorf("%w: partition %d: broker %d is not registered", kerr.InvalidReplicaAssignment, from+i, b)
			}
			if metadata.Electable(p, r, brokers) {
				p.ISR = append(p.ISR, b)
			}
		}
		if len(p.ISR) == 0 {
			return nil, fmt.Errorf("%w: partition %d: none of brokers %v is live", kerr.InvalidReplicaAssignment, from+i, replicas)
		}
		p.Leader = p.ISR[0]
		out = append(out, p)
	}
	return out, nil
}

func insertPartitions(ctx context.Context, tx pgx.Tx, partitions []*metadata.Partition) error {
	columns := []string{"topic_id", "partition", "leader", "replicas", "isr", "dirs"}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"partition"}, columns, pgx.CopyFromSlice(len(partitions), func(i int) ([]any, error) {
		p := partitions[i]
		return []any{p.TopicID, p.TopicPartition.Partition, int32(p.Leader), int32s(p.Replicas), int32s(p.ISR), p.Dirs}, nil
	}))
	return err
}

// DeleteTopics deletes topics with their partitions, configurations and committed offsets, and dooms their segments
// in the bucket. Errors per topic: UNKNOWN_TOPIC_OR_PARTITION for a name, UNKNOWN_TOPIC_ID for an id.
func (s *Store) DeleteTopics(ctx context.Context, topics []metadata.TopicRef) ([]error, error) {
	var out []error
	err := s.change(ctx, adminOp("delete topics"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		out = make([]error, len(topics))
		ids := make([]metadata.TopicID, 0, len(topics))
		for i, ref := range topics {
			id, err := findTopic(ctx, tx, ref)
			if err != nil {
				return false, err
			}
			if id == uuid.Nil {
				out[i] = unknownTopic(ref)
				continue
			}
			ids = append(ids, id)
		}
		if len(ids) == 0 {
			return false, nil
		}
		return true, deleteTopics(ctx, tx, ids)
	})
	return out, err
}

// findTopic returns the id of an existing topic, Nil when there is none.
func findTopic(ctx context.Context, q querier, ref metadata.TopicRef) (id metadata.TopicID, err error) {
	switch {
	case ref.Name == "":
		err = q.QueryRow(ctx, `SELECT topic_id FROM topic WHERE topic_id = $1`, ref.ID).Scan(&id)
	case storable(ref.Name):
		err = q.QueryRow(ctx, `SELECT topic_id FROM topic WHERE name = $1`, ref.Name).Scan(&id)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, nil
	}
	return id, err
}

func unknownTopic(ref metadata.TopicRef) error {
	if ref.Name == "" {
		return fmt.Errorf("%w: %s", kerr.UnknownTopicID, ref.ID)
	}
	return fmt.Errorf("%w: topic %q", kerr.UnknownTopicOrPartition, ref.Name)
}

func deleteTopics(ctx context.Context, tx pgx.Tx, ids []metadata.TopicID) error {
	for _, statement := range []string{
		`SELECT FROM topic WHERE topic_id = ANY ($1) ORDER BY topic_id FOR UPDATE`,
		// The partitions first: a commit of a segment holds its partition, so none becomes live after this.
		`SELECT FROM partition WHERE topic_id = ANY ($1) ORDER BY topic_id, partition FOR UPDATE`,
		`UPDATE remote_segment SET state = 2, changed_at = clock_timestamp(), reason = 'topic deleted' WHERE topic_id = ANY ($1) AND state = 1`,
		`DELETE FROM topic WHERE topic_id = ANY ($1)`,
	} {
		if _, err := tx.Exec(ctx, statement, ids); err != nil {
			return err
		}
	}
	return nil
}

// lockTopic locks a topic by name FOR UPDATE.
func lockTopic(ctx context.Context, tx pgx.Tx, name string) (id metadata.TopicID, err error) {
	if storable(name) {
		err = tx.QueryRow(ctx, `SELECT topic_id FROM topic WHERE name = $1 FOR UPDATE`, name).Scan(&id)
	}
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && id == uuid.Nil) {
		return uuid.Nil, unknownTopic(metadata.TopicRef{Name: name})
	}
	return id, err
}

// AddPartitions adds partitions [from, from+len(added)) to a topic. UNKNOWN_TOPIC_OR_PARTITION; INVALID_PARTITIONS
// when the topic does not have from partitions now; INVALID_REPLICA_ASSIGNMENT as CreateTopics, or when the
// replication factor is not that of partition 0.
func (s *Store) AddPartitions(ctx context.Context, topic string, added [][]metadata.BrokerID, from int, validateOnly bool) error {
	return s.change(ctx, adminOp("add partitions"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		brokers, err := readBrokers(ctx, tx, `FOR SHARE`)
		if err != nil {
			return false, err
		}
		id, err := lockTopic(ctx, tx, topic)
		if err != nil {
			return false, err
		}
		var count, factor int
		err = tx.QueryRow(ctx, `SELECT count(*), max(cardinality(replicas) - cardinality(removing)) FILTER (WHERE partition = 0) FROM partition WHERE topic_id = $1`, id).Scan(&count, &factor)
		if err != nil {
			return false, err
		}
		if count != from {
			return false, fmt.Errorf("%w: topic %s has %d partitions now, not %d", kerr.InvalidPartitions, topic, count, from)
		}
		for i, replicas := range added {
			if len(replicas) != factor {
				return false, fmt.Errorf("%w: partition %d has %d replicas, the topic's replication factor is %d", kerr.InvalidReplicaAssignment, from+i, len(replicas), factor)
			}
		}
		partitions, err := newPartitions(id, from, added, brokers)
		if err != nil {
			return false, err
		}
		if err := insertPartitions(ctx, tx, partitions); err != nil {
			return false, err
		}
		if validateOnly {
			return false, errRollback
		}
		return true, nil
	})
}
