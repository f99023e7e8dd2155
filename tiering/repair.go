package tiering

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"varve/commitlog"
	"varve/metadata"
	"varve/replica"
)

// repairPartition brings damaged local segments back from the bucket, where they are live. What is not there stays damaged: the log has said so.
func (m *Manager) repairPartition(ctx context.Context, p *replica.Partition) error {
	var errs []error
	for _, d := range p.Log().Damaged() {
		rows, err := m.catalog.ensure(ctx, p.Key())
		if err != nil {
			return err
		}
		row := copyOf(rows, d.SegmentInfo)
		if row == nil {
			continue
		}
		if err := m.repairSegment(ctx, p.Log(), row); err != nil {
			errs = append(errs, fmt.Errorf("repairing [%d, %d): %w", row.BaseOffset, row.EndOffset, err))
		}
	}
	return errors.Join(errs...)
}

// copyOf finds the live segment that is a copy of a sealed local one; nil: there is none.
func copyOf(rows []metadata.RemoteSegment, s commitlog.SegmentInfo) *metadata.RemoteSegment {
	i := segmentOf(rows, s.BaseOffset)
	if i < 0 || i >= len(rows) || !s.Sealed {
		return nil
	}
	if r := &rows[i]; r.BaseOffset == s.BaseOffset && r.EndOffset == s.EndOffset && r.LogBytes == s.Bytes {
		return r
	}
	return nil
}

func (m *Manager) repairSegment(ctx context.Context, l *commitlog.Log, row *metadata.RemoteSegment) error {
	body, err := m.cfg.Bucket.Get(ctx, LogKey(row), 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	return l.Repair(row.BaseOffset, &checkedReader{r: body, want: row.LogCRC32C, key: LogKey(row)})
}

// checkedReader ends with ErrChecksum instead of io.EOF when what was read is not what was written.
type checkedReader struct {
	r    io.Reader
	sum  uint32
	want uint32
	key  string
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum = crc32.Update(c.sum, castagnoli, p[:n])
	if err == io.EOF && c.sum != c.want {
		err = &ObjectError{"get", c.key, ErrChecksum}
	}
	return n, err
}
