package fetch

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/metadata"
	"varve/replica"
)

// The special timestamps of ListOffsets.
const (
	Latest                = -1
	Earliest              = -2
	MaxTimestamp          = -3 // KIP-734
	EarliestLocal         = -4 // KIP-405
	LatestTiered          = -5 // KIP-1005
	EarliestPendingUpload = -6 // KIP-1023
)

// Isolation is how far a reader may see.
type Isolation int8

// ReadUncommitted sees what is below the high watermark, ReadCommitted below the last stable offset, LogEnd (another broker) everything.
const (
	ReadUncommitted Isolation = iota
	ReadCommitted
	LogEnd
)

// none is the answer when there is no such offset.
var none = commitlog.TimestampOffset{Timestamp: -1, Offset: -1, LeaderEpoch: -1}

// ListOffset answers one partition of ListOffsets. FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER and the like are
// errors; "there is none" is offset -1. ctx bounds look-ups in the bucket.
func (f *Fetcher) ListOffset(ctx context.Context, tp metadata.TopicPartition, leaderEpoch int32, timestamp int64, isolation Isolation) (commitlog.TimestampOffset, error) {
	p, err := f.partitions.Partition(tp)
	if err != nil {
		return none, err
	}
	if leaderEpoch < -1 {
		return none, kerr.FencedLeaderEpoch // as Kafka does here, and only here
	}
	if err := p.CheckLeader(leaderEpoch); err != nil {
		return none, err
	}
	o := p.Offsets()
	limit := o.HighWatermark
	switch isolation {
	case ReadCommitted:
		limit = o.LastStable
	case LogEnd:
		limit = p.Log().End()
	}
	if timestamp < 0 && timestamp != Earliest && timestamp != EarliestLocal && isolation != LogEnd && !p.Caught() {
		return none, kerr.OffsetNotAvailable
	}
	switch timestamp {
	case Latest:
		return commitlog.TimestampOffset{Timestamp: -1, Offset: limit, LeaderEpoch: p.LeaderEpoch()}, nil
	case Earliest:
		return at(p.Log(), o.LogStart), nil
	case EarliestLocal:
		return at(p.Log(), o.LocalStart), nil
	case LatestTiered, EarliestPendingUpload:
		return f.tierEdge(ctx, p, o, timestamp)
	case MaxTimestamp:
		return f.maxTimestamp(ctx, p, o, limit)
	}
	return f.byTimestamp(ctx, p, o, timestamp, limit)
}

// at names an offset without a timestamp.
func at(l *commitlog.Log, offset int64) commitlog.TimestampOffset {
	return commitlog.TimestampOffset{Timestamp: -1, Offset: offset, LeaderEpoch: l.EpochAt(offset)}
}

// tierEdge is the last tiered offset, or the first one that is not.
func (f *Fetcher) tierEdge(ctx context.Context, p *replica.Partition, o replica.Offsets, which int64) (commitlog.TimestampOffset, error) {
	if f.remote == nil {
		return none, nil
	}
	end, err := f.remote.TieredEnd(ctx, p.Key())
	switch {
	case err != nil:
		return none, err
	case which == EarliestPendingUpload:
		return at(p.Log(), max(end, o.LogStart)), nil
	case end <= o.LogStart:
		return none, nil
	}
	return at(p.Log(), end-1), nil
}

func (f *Fetcher) maxTimestamp(ctx context.Context, p *replica.Partition, o replica.Offsets, limit int64) (commitlog.TimestampOffset, error) {
	best, ok, err := p.Log().MaxTimestamp(limit)
	if err != nil {
		return none, err
	}
	if f.remote != nil && o.LocalStart > o.LogStart {
		cold, found, err := f.remote.MaxTimestamp(ctx, p.Key(), o.LogStart)
		if err != nil {
			return none, err
		}
		if found && (!ok || cold.Timestamp >= best.Timestamp) {
			best, ok = cold, true
		}
	}
	if !ok {
		return none, nil
	}
	return best, nil
}

func (f *Fetcher) byTimestamp(ctx context.Context, p *replica.Partition, o replica.Offsets, ts, limit int64) (commitlog.TimestampOffset, error) {
	if f.remote != nil && o.LocalStart > o.LogStart {
		if found, ok, err := f.remote.OffsetForTimestamp(ctx, p.Key(), ts, o.LogStart); err != nil || ok && found.Offset < limit {
			return found, err
		}
	}
	found, ok, err := p.Log().OffsetForTimestamp(ts, limit)
	if err != nil || !ok {
		return none, err
	}
	return found, nil
}

// EpochEnd answers one partition of OffsetForLeaderEpoch: the greatest epoch at or below epoch and where it ended, (-1, -1) when unknown.
func (f *Fetcher) EpochEnd(tp metadata.TopicPartition, currentLeaderEpoch, epoch int32) (int32, int64, error) {
	p, err := f.partitions.Partition(tp)
	if err != nil {
		return -1, -1, err
	}
	if err := p.CheckLeader(currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	found, end := p.Log().EpochEnd(epoch)
	return found, end, nil
}
