package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// claimTime is how long a deleter has for the segments it claimed before another may claim them.
const claimTime = 5 * time.Minute

const segmentColumns = `segment_id, topic_id, partition, base_offset, end_offset, leader_epoch, state, max_timestamp,
	log_bytes, idx_bytes, log_crc32c, has_txn_index, uploader, created_at, changed_at, reason`

func scanSegment(row pgx.CollectableRow) (s metadata.RemoteSegment, err error) {
	err = row.Scan(&s.ID, &s.TopicPartition.TopicID, &s.TopicPartition.Partition, &s.BaseOffset, &s.EndOffset,
		&s.LeaderEpoch, &s.State, &s.MaxTimestamp, &s.LogBytes, &s.IdxBytes, &s.LogCRC32C, &s.HasTxnIndex, &s.Uploader,
		&s.CreatedAt, &s.ChangedAt, &s.Reason)
	return s, err
}

// AddIntent inserts an intent row: FENCED_LEADER_EPOCH when seg.Uploader no longer leads with seg.LeaderEpoch,
// UNKNOWN_TOPIC_OR_PARTITION when the partition is gone. Idempotent for the same id.
func (s *Store) AddIntent(ctx context.Context, seg metadata.RemoteSegment) error {
	return s.update(ctx, segmentOp("add upload intent"), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockLed(ctx, tx, seg.TopicPartition, seg.Uploader, seg.LeaderEpoch, `FOR SHARE`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO remote_segment
			(segment_id, topic_id, partition, base_offset, end_offset, leader_epoch, state, uploader)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (segment_id) DO NOTHING`,
			seg.ID, seg.TopicPartition.TopicID, seg.TopicPartition.Partition, seg.BaseOffset, seg.EndOffset,
			seg.LeaderEpoch, metadata.SegmentIntent, seg.Uploader)
		return err
	})
}

// OverlapError says that another live segment covers some of the offsets: the database refused the commit.
type OverlapError struct {
	Segment metadata.RemoteSegment
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("segment %s of %s [%d,%d) overlaps a live one", e.Segment.ID, e.Segment.TopicPartition, e.Segment.BaseOffset, e.Segment.EndOffset)
}

// CommitSegment is the fenced commit: in one transaction lock the partition FOR SHARE, check leader and leader epoch,
// intent becomes live with the sizes, checksums and max timestamp of seg. Idempotent for the same id. A connection
// lost at COMMIT is resolved by re-reading.
//
// FENCED_LEADER_EPOCH and UNKNOWN_TOPIC_OR_PARTITION as AddIntent; an *OverlapError, which is a KAFKA_STORAGE_ERROR;
// KAFKA_STORAGE_ERROR when the intent was given up meanwhile: upload again under a new id.
func (s *Store) CommitSegment(ctx context.Context, seg metadata.RemoteSegment) error {
	o := segmentOp("commit segment")
	err := s.update(ctx, o, func(ctx context.Context, tx pgx.Tx) error { return commitSegment(ctx, tx, seg) })
	var unknown errCommitUnknown
	if errors.As(err, &unknown) && !retriable(unknown.error) {
		return s.resolveCommit(ctx, o, seg, err)
	}
	if sqlState(err) == exclusionViolation {
		return fmt.Errorf("%w: %w", kerr.KafkaStorageError, &OverlapError{Segment: seg})
	}
	return err
}

func commitSegment(ctx context.Context, tx pgx.Tx, seg metadata.RemoteSegment) error {
	if err := lockLed(ctx, tx, seg.TopicPartition, seg.Uploader, seg.LeaderEpoch, `FOR SHARE`); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `UPDATE remote_segment SET state = $9, changed_at = clock_timestamp(), max_timestamp = $4,
		log_bytes = $5, idx_bytes = $6, log_crc32c = $7, has_txn_index = $8
		WHERE segment_id = $1 AND topic_id = $2 AND partition = $3 AND state = $10`,
		seg.ID, seg.TopicPartition.TopicID, seg.TopicPartition.Partition, seg.MaxTimestamp, seg.LogBytes, seg.IdxBytes,
		int64(seg.LogCRC32C), seg.HasTxnIndex, metadata.SegmentLive, metadata.SegmentIntent)
	if err != nil || tag.RowsAffected() > 0 {
		return err
	}
	return committed(ctx, tx, seg)
}

// committed returns nil when seg's row is live already, else why it cannot become so.
func committed(ctx context.Context, q querier, seg metadata.RemoteSegment) error {
	var state metadata.SegmentState
	err := q.QueryRow(ctx, `SELECT state FROM remote_segment WHERE segment_id = $1`, seg.ID).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: segment %s has no intent", kerr.KafkaStorageError, seg.ID)
	}
	if err == nil && state != metadata.SegmentLive {
		return fmt.Errorf("%w: segment %s is in state %d", kerr.KafkaStorageError, seg.ID, state)
	}
	return err
}

// resolveCommit finds out what became of a COMMIT whose answer was lost. While Postgres is away that cannot be known,
// and the original error stays: the caller repeats CommitSegment, which is idempotent.
func (s *Store) resolveCommit(ctx context.Context, o op, seg metadata.RemoteSegment, lost error) error {
	err := s.update(ctx, o, func(ctx context.Context, tx pgx.Tx) error { return committed(ctx, tx, seg) })
	if err != nil {
		return lost
	}
	return nil
}

// LiveSegments lists live rows of tp with EndOffset > from, by base offset, at most limit.
func (s *Store) LiveSegments(ctx context.Context, tp metadata.TopicPartition, from int64, limit int) ([]metadata.RemoteSegment, error) {
	var out []metadata.RemoteSegment
	err := s.update(ctx, segmentOp("list live segments"), func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+segmentColumns+` FROM remote_segment
			WHERE topic_id = $1 AND partition = $2 AND end_offset > $3 AND state = 1 ORDER BY end_offset LIMIT $4`,
			tp.TopicID, tp.Partition, from, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanSegment)
		return err
	})
	return out, err
}

// DoomSegments raises the log start of tp to newStart and makes the live segments ids doomed, in one transaction
// fenced by the leader epoch. Segments that reach beyond the log start then in force are refused, all of them, with
// INVALID_REQUEST: nothing readable is doomed. Ids that are not live are left as they are.
func (s *Store) DoomSegments(ctx context.Context, tp metadata.TopicPartition, self metadata.BrokerID, leaderEpoch int32, newStart int64, ids []uuid.UUID, reason string) error {
	return s.change(ctx, segmentOp("doom segments"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if err := lockLed(ctx, tx, tp, self, leaderEpoch, `FOR UPDATE`); err != nil {
			return false, err
		}
		changed, err := raiseLogStart(ctx, tx, tp, newStart)
		if err != nil {
			return false, err
		}
		var readable int
		err = tx.QueryRow(ctx, `SELECT count(*) FROM remote_segment s
			WHERE segment_id = ANY ($1) AND state = 1 AND NOT (topic_id = $2 AND partition = $3 AND end_offset <=
				(SELECT log_start_offset FROM partition WHERE topic_id = $2 AND partition = $3))`,
			ids, tp.TopicID, tp.Partition).Scan(&readable)
		if err != nil {
			return false, err
		}
		if readable > 0 {
			return false, fmt.Errorf("%w: %d of the segments to doom reach beyond the log start of %s", kerr.InvalidRequest, readable, tp)
		}
		_, err = tx.Exec(ctx, `UPDATE remote_segment SET state = 2, changed_at = clock_timestamp(), reason = $2, doomed_by = $3
			WHERE segment_id = ANY ($1) AND state = 1`, ids, reason, self)
		return changed, err
	})
}

// SegmentsToDelete claims up to limit segments whose objects may be deleted: doomed for longer than grace, and intents
// older than intentGrace, which become doomed by it, so that their upload can no longer be committed. A claim that is
// not followed by MarkGone expires.
func (s *Store) SegmentsToDelete(ctx context.Context, grace, intentGrace time.Duration, limit int) ([]metadata.RemoteSegment, error) {
	var out []metadata.RemoteSegment
	err := s.update(ctx, segmentOp("claim segments to delete"), func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE remote_segment SET claimed_until = clock_timestamp() + $4, state = 2,
				changed_at = CASE state WHEN 0 THEN clock_timestamp() ELSE changed_at END,
				reason = CASE state WHEN 0 THEN 'upload given up' ELSE reason END
			WHERE segment_id IN (SELECT segment_id FROM remote_segment
				WHERE (state = 2 AND changed_at <= clock_timestamp() - $1::interval OR state = 0 AND changed_at <= clock_timestamp() - $2::interval)
					AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
				ORDER BY changed_at LIMIT $3 FOR UPDATE SKIP LOCKED)
			RETURNING `+segmentColumns, grace, intentGrace, limit, claimTime)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanSegment)
		return err
	})
	return out, err
}

// MarkGone records that the objects of doomed segments no longer exist. The rows stay as the ledger of deletions.
func (s *Store) MarkGone(ctx context.Context, ids []uuid.UUID) error {
	return s.update(ctx, segmentOp("mark segments gone"), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE remote_segment SET state = 3, changed_at = clock_timestamp(), claimed_until = NULL
			WHERE segment_id = ANY ($1) AND state = 2`, ids)
		return err
	})
}

// PruneLedger forgets segments that have been gone for longer than keep, and returns how many.
func (s *Store) PruneLedger(ctx context.Context, keep time.Duration) (int64, error) {
	var n int64
	err := s.update(ctx, segmentOp("prune deletion ledger"), func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM remote_segment WHERE state = 3 AND changed_at < clock_timestamp() - $1::interval`, keep)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// SegmentTotal sums the live segments of one partition.
type SegmentTotal struct {
	metadata.TopicPartition
	Segments  int64
	Bytes     int64 // of the .log and .idx objects
	EndOffset int64 // highest live EndOffset
}

// SegmentTotals sums the live segments of every partition that has any.
func (s *Store) SegmentTotals(ctx context.Context) ([]SegmentTotal, error) {
	var out []SegmentTotal
	err := s.update(ctx, segmentOp("sum segments"), func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT topic_id, partition, count(*), sum(log_bytes + idx_bytes)::bigint, max(end_offset)
			FROM remote_segment WHERE state = 1 GROUP BY topic_id, partition ORDER BY topic_id, partition`)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t SegmentTotal, err error) {
			err = row.Scan(&t.TopicID, &t.Partition, &t.Segments, &t.Bytes, &t.EndOffset)
			return t, err
		})
		return err
	})
	return out, err
}
