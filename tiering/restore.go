package tiering

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/metadata"
)

// Restored implements replica.Restorer: where the live segments of tp end, and the leader epochs and producer state there, from the newest bundle. A
// bundle that is missing or broken is an error: starting lower would give out offsets again that the bucket holds.
func (m *Manager) Restored(ctx context.Context, tp metadata.TopicPartition) (int64, []commitlog.EpochEntry, []byte, error) {
	rows, err := m.catalog.load(ctx, tp)
	if err != nil || len(rows) == 0 {
		return 0, nil, nil, err
	}
	last := &rows[len(rows)-1]
	bundle, err := fetchBundle(ctx, m.cfg.Bucket, last)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("the newest segment of %s, [%d, %d): %w", tp, last.BaseOffset, last.EndOffset, err)
	}
	return last.EndOffset, bundle.LeaderEpochs, bundle.Producers, nil
}

// StateAt implements replica.Restorer: the leader epochs and the producer state at offset, where a live segment ends.
func (m *Manager) StateAt(ctx context.Context, tp metadata.TopicPartition, offset int64) ([]commitlog.EpochEntry, []byte, error) {
	rows, err := m.catalog.load(ctx, tp)
	if err != nil {
		return nil, nil, err
	}
	i, found := slices.BinarySearchFunc(rows, offset, func(r metadata.RemoteSegment, end int64) int { return cmp.Compare(r.EndOffset, end) })
	if !found {
		return nil, nil, fmt.Errorf("%w: no live segment of %s ends at offset %d", kerr.KafkaStorageError, tp, offset)
	}
	bundle, err := fetchBundle(ctx, m.cfg.Bucket, &rows[i])
	if err != nil {
		return nil, nil, err
	}
	return bundle.LeaderEpochs, bundle.Producers, nil
}

// fetchBundle reads and checks the bundle of a live segment.
func fetchBundle(ctx context.Context, b Bucket, row *metadata.RemoteSegment) (*Bundle, error) {
	return fetchIdx(ctx, b, row, row.IdxBytes, Decode)
}

// fetchTable reads and checks of a live segment's bundle what reading needs: the head, and the rest only if there are aborted transactions.
func fetchTable(ctx context.Context, b Bucket, row *metadata.RemoteSegment) (*Bundle, error) {
	if row.HasTxnIndex {
		return fetchBundle(ctx, b, row)
	}
	return fetchIdx(ctx, b, row, min(row.IdxBytes, HeadBytes(row.LogBytes)), DecodeHead)
}

func fetchIdx(ctx context.Context, b Bucket, row *metadata.RemoteSegment, size int64, decode func([]byte) (*Bundle, error)) (*Bundle, error) {
	body, err := b.Get(ctx, IdxKey(row), 0, size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data := make([]byte, size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, &ObjectError{"get", IdxKey(row), err}
	}
	bundle, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kerr.KafkaStorageError, &ObjectError{"decode", IdxKey(row), err})
	}
	if s := bundle.Segment; s.ID != row.ID || s.TopicPartition != row.TopicPartition || s.BaseOffset != row.BaseOffset || s.EndOffset != row.EndOffset ||
		s.LogBytes != row.LogBytes || s.LogCRC32C != row.LogCRC32C {
		return nil, fmt.Errorf("%w: %w", kerr.KafkaStorageError, &ObjectError{"decode", IdxKey(row), fmt.Errorf("it describes another segment: %+v", s)})
	}
	return bundle, nil
}
