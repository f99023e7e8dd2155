package tiering

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/metadata"
	"varve/replica"
)

// nextUpload picks the next local segment to upload: the first sealed one above what is tiered, if it lies wholly below the last stable
// offset, so that no open transaction reaches into it and its transaction index is final.
func nextUpload(local []commitlog.SegmentInfo, tiered, lastStable int64) (commitlog.SegmentInfo, bool) {
	for _, s := range local {
		if s.EndOffset <= tiered || s.EndOffset == s.BaseOffset {
			continue
		}
		return s, s.Sealed && s.EndOffset <= lastStable && s.BaseOffset >= tiered
	}
	return commitlog.SegmentInfo{}, false
}

// uploadPartition uploads all that is eligible, oldest first. It stops at the first error: the next pass tries again, under new keys.
func (m *Manager) uploadPartition(ctx context.Context, p *replica.Partition) error {
	cfg := p.Config()
	if !cfg.RemoteStorage || !p.Leading() {
		return nil
	}
	if err := p.RollIfDue(time.Now(), time.Duration(cfg.UploadMaxAgeMs)*time.Millisecond); err != nil {
		return fmt.Errorf("sealing a quiet segment: %w", err)
	}
	for ctx.Err() == nil {
		rows, err := m.rows(ctx, p)
		if err != nil {
			return err
		}
		s, ok := nextUpload(p.Log().Segments(), tieredEnd(rows), p.Offsets().LastStable)
		if !ok {
			return nil
		}
		if err := m.uploadSegment(ctx, p, s); err != nil {
			m.catalog.forget(p.Key()) // the commit's outcome may be unknown: read it again
			return fmt.Errorf("uploading [%d, %d): %w", s.BaseOffset, s.EndOffset, err)
		}
	}
	return ctx.Err()
}

// uploadSegment takes one sealed segment from intent to live.
func (m *Manager) uploadSegment(ctx context.Context, p *replica.Partition, s commitlog.SegmentInfo) error {
	started, epoch := time.Now(), p.LeaderEpoch()
	sealed, err := p.Log().OpenSealed(s.BaseOffset)
	if err != nil {
		return err
	}
	defer sealed.Release()
	sum, err := Summarize(sealed.Log, sealed.Bytes)
	if err != nil {
		return errors.Join(p.Log().Verify(s.BaseOffset), err)
	}
	row := metadata.RemoteSegment{ID: uuid.New(), TopicPartition: p.Key(), BaseOffset: sealed.BaseOffset, EndOffset: sealed.EndOffset, LeaderEpoch: epoch,
		State: metadata.SegmentLive, MaxTimestamp: sum.MaxTimestamp, LogBytes: sealed.Bytes, LogCRC32C: sum.CRC32C, HasTxnIndex: sealed.TxnIndex != nil,
		Uploader: m.cfg.Self, CreatedAt: started, ChangedAt: started}
	bundle := Bundle{ClusterID: m.cfg.ClusterID, Topic: p.Topic(), Segment: row, Chunks: sum.Chunks, Index: sealed.Index, TimeIndex: sealed.TimeIndex,
		TxnIndex: sealed.TxnIndex, Producers: sealed.ProducerSnapshot, LeaderEpochs: sealed.Epochs}
	idx := bundle.Encode()
	row.IdxBytes = int64(len(idx))
	if err := m.cfg.Manifest.AddIntent(ctx, row); err != nil {
		return err
	}
	if err := m.cfg.Bucket.Put(ctx, LogKey(&row), sealed.Log, PutOptions{Size: row.LogBytes, CRC32C: row.LogCRC32C}); err != nil {
		return err
	}
	idxCRC := crc32.Checksum(idx, castagnoli)
	if err := m.cfg.Bucket.Put(ctx, IdxKey(&row), bytes.NewReader(idx), PutOptions{Size: row.IdxBytes, CRC32C: idxCRC}); err != nil {
		return err
	}
	if err := m.verify(ctx, LogKey(&row), row.LogBytes, row.LogCRC32C); err != nil {
		return err
	}
	if err := m.verify(ctx, IdxKey(&row), row.IdxBytes, idxCRC); err != nil {
		return err
	}
	if err := m.cfg.Manifest.CommitSegment(ctx, row); err != nil {
		return err
	}
	m.catalog.add(row)
	m.metrics.uploaded(row, time.Since(started))
	return nil
}

// verify asks the store what it holds before the row says that it is there.
func (m *Manager) verify(ctx context.Context, key string, size int64, crc uint32) error {
	info, err := m.cfg.Bucket.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Size != size || info.CRC32C != nil && *info.CRC32C != crc {
		return &ObjectError{"verify", key, fmt.Errorf("%w: the store holds %d bytes of %d", ErrChecksum, info.Size, size)}
	}
	return nil
}
