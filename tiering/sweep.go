package tiering

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	// deleteGrace is how long a doomed segment's objects stay: longer than any fetch that may still read them.
	deleteGrace = 2 * time.Minute
	// intentGrace is how old an unfinished upload must be before its objects are taken for orphans.
	intentGrace = time.Hour
	sweepBatch  = 500
)

// sweep deletes the objects of doomed segments and of uploads that were given up, as the manifest names them. Nothing else in the bucket is touched.
func (m *Manager) sweep(ctx context.Context) error {
	for {
		segments, err := m.cfg.Ledger.SegmentsToDelete(ctx, m.cfg.DeleteGrace, m.cfg.IntentGrace, sweepBatch)
		if err != nil || len(segments) == 0 {
			return err
		}
		keys := make([]string, 0, 2*len(segments))
		ids := make([]uuid.UUID, 0, len(segments))
		for i := range segments {
			keys = append(keys, LogKey(&segments[i]), IdxKey(&segments[i]))
			ids = append(ids, segments[i].ID)
		}
		if err := m.cfg.Bucket.Delete(ctx, keys); err != nil {
			return fmt.Errorf("deleting the objects of %d segments: %w", len(segments), err)
		}
		if err := m.cfg.Ledger.MarkGone(ctx, ids); err != nil {
			return err
		}
		m.metrics.deleted.Add(float64(len(segments)))
		m.log.Info("deleted segments from the bucket", "segments", len(segments))
		if len(segments) < sweepBatch {
			return nil
		}
	}
}
