package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"varve/metadata"
)

// CommitOffsets stores offsets of groups of one shard in one statement; groups that do not exist are created. Of two
// commits of one key the later in commits wins. Offsets of topics that are gone are dropped. A zero CommittedAt means
// now, by Postgres's clock. NOT_COORDINATOR when epoch is stale.
func (s *Store) CommitOffsets(ctx context.Context, shard, epoch int32, commits []metadata.OffsetCommit) error {
	rows := newOffsetRows(commits)
	return s.update(ctx, groupOp("commit offsets"), func(ctx context.Context, tx pgx.Tx) error {
		// One round trip. COMMIT is not part of it: statements that wait for a lock when their client has given up must not
		// commit behind the back of its next attempt.
		var batch pgx.Batch
		// Topics come before shards in the order of locks. The lock keeps them from being deleted meanwhile.
		batch.Queue(`SELECT FROM topic WHERE topic_id = ANY ($1) ORDER BY topic_id FOR KEY SHARE`, rows.topicSet())
		batch.Queue(fenceShardSQL, shard)
		batch.Queue(`INSERT INTO grp (group_id, shard)
			SELECT g, $2::int FROM unnest($1::bytea[]) AS g ON CONFLICT DO NOTHING`, rows.groupSet(), shard)
		batch.Queue(upsertOffsets, rows.groups, rows.topics, rows.partitions, rows.offsets, rows.epochs, rows.metadata, rows.at, rows.retention)
		answers := tx.SendBatch(ctx, &batch)
		_, err := answers.Exec()
		if err == nil {
			err = checkFence(answers.QueryRow(), shard, epoch)
		}
		return errors.Join(err, answers.Close())
	})
}

const upsertOffsets = `INSERT INTO grp_offset (group_id, topic_id, partition, off, leader_epoch, metadata, committed_at, expire_at)
	SELECT c.g, c.t, c.p, c.o, c.e, c.m, coalesce(c.at, clock_timestamp()), coalesce(c.at, clock_timestamp()) + c.r
	FROM unnest($1::bytea[], $2::uuid[], $3::int[], $4::bigint[], $5::int[], $6::bytea[], $7::timestamptz[], $8::interval[]) AS c (g, t, p, o, e, m, at, r)
	JOIN topic ON topic.topic_id = c.t
	ORDER BY c.g, c.t, c.p
	ON CONFLICT (group_id, topic_id, partition) DO UPDATE
	SET off = excluded.off, leader_epoch = excluded.leader_epoch, metadata = excluded.metadata,
		committed_at = excluded.committed_at, expire_at = excluded.expire_at`

// offsetRows are commits as columns, sorted by key, each key once.
type offsetRows struct {
	groups     [][]byte
	topics     [][16]byte // not uuid.UUID: pgx would make a string of each
	partitions []int32
	offsets    []int64
	epochs     []int32
	metadata   [][]byte
	at         []*time.Time
	retention  []*time.Duration
}

func newOffsetRows(commits []metadata.OffsetCommit) offsetRows {
	sorted := slices.Clone(commits)
	slices.SortStableFunc(sorted, compareKeys)
	var r offsetRows
	for i, c := range sorted {
		if i+1 < len(sorted) && compareKeys(c, sorted[i+1]) == 0 {
			continue // a later commit of the same key
		}
		r.groups = append(r.groups, []byte(c.GroupID))
		r.topics = append(r.topics, c.TopicID)
		r.partitions = append(r.partitions, c.Partition)
		r.offsets = append(r.offsets, c.Offset.Offset)
		r.epochs = append(r.epochs, c.LeaderEpoch)
		r.metadata = append(r.metadata, []byte(c.Metadata))
		var at *time.Time
		if !c.CommittedAt.IsZero() {
			at = &c.CommittedAt
		}
		r.at = append(r.at, at)
		var retention *time.Duration
		if c.Retention != 0 {
			retention = &c.Retention
		}
		r.retention = append(r.retention, retention)
	}
	return r
}

// groupSet and topicSet are the groups and topics, each once and in order: that of locks.
func (r *offsetRows) groupSet() [][]byte {
	return slices.CompactFunc(slices.Clone(r.groups), bytes.Equal) // sorted already
}

func (r *offsetRows) topicSet() [][16]byte {
	set := map[[16]byte]bool{}
	for _, t := range r.topics {
		set[t] = true
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
}

func compareKeys(a, b metadata.OffsetCommit) int {
	return cmp.Or(cmp.Compare(a.GroupID, b.GroupID), bytes.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
}

// FetchOffsets returns the committed offsets of a group for tps, or all of them when tps is nil. Partitions without
// one are absent.
func (s *Store) FetchOffsets(ctx context.Context, group string, tps []metadata.TopicPartition) ([]metadata.Offset, error) {
	where, args := ``, []any{[]byte(group)}
	if tps != nil {
		topics, partitions := make([]uuid.UUID, len(tps)), make([]int32, len(tps))
		for i, tp := range tps {
			topics[i], partitions[i] = tp.TopicID, tp.Partition
		}
		where = ` AND (topic_id, partition) IN (SELECT * FROM unnest($2::uuid[], $3::int[]))`
		args = append(args, topics, partitions)
	}
	var out []metadata.Offset
	err := s.update(ctx, groupOp("fetch offsets"), func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT topic_id, partition, off, leader_epoch, metadata, committed_at, expire_at
			FROM grp_offset WHERE group_id = $1`+where+` ORDER BY topic_id, partition`, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (o metadata.Offset, err error) {
			var text []byte
			var expires *time.Time
			err = row.Scan(&o.TopicID, &o.TopicPartition.Partition, &o.Offset, &o.LeaderEpoch, &text, &o.CommittedAt, &expires)
			if expires != nil {
				o.ExpireAt = *expires
			}
			o.Metadata = string(text)
			return o, err
		})
		return err
	})
	return out, err
}

// DeleteOffsets deletes offsets of a group of the shard by topic and partition; one with a CommittedAt only if it was not
// committed again since. Absent ones are no error. NOT_COORDINATOR when epoch is stale.
func (s *Store) DeleteOffsets(ctx context.Context, shard, epoch int32, group string, offsets []metadata.Offset) error {
	topics, partitions, seen := make([]uuid.UUID, len(offsets)), make([]int32, len(offsets)), make([]*time.Time, len(offsets))
	for i, o := range offsets {
		topics[i], partitions[i] = o.TopicID, o.TopicPartition.Partition
		if !o.CommittedAt.IsZero() {
			seen[i] = &o.CommittedAt
		}
	}
	return s.update(ctx, groupOp("delete offsets"), func(ctx context.Context, tx pgx.Tx) error {
		if err := fenceShard(ctx, tx, shard, epoch); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM grp_offset o USING unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS d (t, p, at)
			WHERE o.group_id = $1 AND o.topic_id = d.t AND o.partition = d.p AND o.committed_at <= coalesce(d.at, 'infinity')`,
			[]byte(group), topics, partitions, seen)
		return err
	})
}
