package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/metadata"
	"varve/replica"
)

// Fetcher is the fetch path over the partitions of this broker. Safe for concurrent use.
type Fetcher struct {
	partitions *replica.Manager
	remote     RemoteReader
	Sessions   Sessions
}

// New returns the fetch path over m's partitions; remote is nil without a bucket.
func New(m *replica.Manager, remote RemoteReader) *Fetcher {
	return &Fetcher{partitions: m, remote: remote}
}

// Request is one consumer's fetch.
type Request struct {
	MaxWait            time.Duration
	MinBytes, MaxBytes int
	ReadCommitted      bool
	// Rack is the consumer's, empty: none. With it, a leader may name a replica that is nearer (KIP-392).
	Rack string
	// FromFollower: the reader understands that this broker need not lead (Fetch 11 and later).
	FromFollower bool
	Partitions   []PartitionRequest
}

// PartitionRequest asks for the batches of one partition from Offset on.
type PartitionRequest struct {
	TopicPartition     metadata.TopicPartition
	CurrentLeaderEpoch int32 // -1: not given
	Offset             int64
	LastFetchedEpoch   int32 // -1: not given
	MaxBytes           int
}

// PartitionResult is the answer for one partition, in the order of the request. The holder releases Records.
type PartitionResult struct {
	Err                                 error // nil or wrapping a *kerr.Error; then the offsets are -1
	HighWatermark, LastStable, LogStart int64
	Diverging                           *commitlog.EpochEntry // where the epoch that the reader knows ended; StartOffset is that end
	Aborted                             []commitlog.AbortedTxn
	Records                             commitlog.Slice
	Near                                *metadata.BrokerID // the replica to read from instead, nil: this one
	wait                                <-chan struct{}    // closes when cold data may have come
	replica                             *replica.Partition // nil: not here
}

// Release gives the results' records back.
func Release(results []PartitionResult) {
	for i := range results {
		results[i].Records.Release()
		results[i].Records = commitlog.Slice{}
	}
}

// Fetch answers as soon as MinBytes are there or something has to be told, else after MaxWait with what there is.
func (f *Fetcher) Fetch(ctx context.Context, req *Request) []PartitionResult {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := make([]metadata.TopicPartition, len(req.Partitions))
	for i := range keys {
		keys[i] = req.Partitions[i].TopicPartition
	}
	results := make([]PartitionResult, len(req.Partitions))
	read := func() bool {
		Release(results)
		enough := f.read(req, results)
		if !enough {
			f.watchCold(ctx, keys, results)
		}
		return enough
	}
	f.partitions.Waiters().Await(ctx, req.MaxWait, keys, read)
	f.count(results)
	return results
}

// count notes in the partitions' metrics what is answered.
func (f *Fetcher) count(results []PartitionResult) {
	for i := range results {
		traffic := f.partitions.Elsewhere()
		if results[i].replica != nil {
			traffic = results[i].replica.Traffic()
		}
		traffic.Fetches.Add(1)
		traffic.BytesOut.Add(int64(results[i].Records.Bytes))
		if results[i].Err != nil {
			traffic.FailedFetches.Add(1)
		}
	}
}

// watchCold wakes the fetch when the first cold data that it misses has come.
func (f *Fetcher) watchCold(ctx context.Context, keys []metadata.TopicPartition, results []PartitionResult) {
	for i := range results {
		if wait := results[i].wait; wait != nil {
			go func() { // ends with the fetch
				select {
				case <-wait:
					f.partitions.Waiters().Touch(keys[i])
				case <-ctx.Done():
				}
			}()
		}
	}
}

// read fills results once and reports whether they are to be answered at once.
func (f *Fetcher) read(req *Request, results []PartitionResult) bool {
	left, total := req.MaxBytes, 0
	for i := range req.Partitions {
		r := &results[i]
		*r = f.partition(req, &req.Partitions[i], left, total == 0)
		left -= r.Records.Bytes
		total += r.Records.Bytes
	}
	return Enough(req, results)
}

// Enough reports whether results answer req without a wait.
func Enough(req *Request, results []PartitionResult) bool {
	total := 0
	for i := range results {
		if results[i].Err != nil || results[i].Diverging != nil || results[i].Near != nil {
			return true
		}
		total += results[i].Records.Bytes
	}
	return total >= req.MinBytes || len(results) == 0
}

func (f *Fetcher) partition(req *Request, p *PartitionRequest, left int, minOne bool) PartitionResult {
	r := PartitionResult{}
	if err := f.partitionInto(&r, req, p, left, minOne); err != nil {
		r.Records.Release()
		var k *kerr.Error
		if !errors.As(err, &k) {
			err = fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
		}
		return PartitionResult{Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1, replica: r.replica}
	}
	return r
}

func (f *Fetcher) partitionInto(r *PartitionResult, req *Request, p *PartitionRequest, left int, minOne bool) error {
	replica, err := f.partitions.Partition(p.TopicPartition)
	if err != nil {
		return err
	}
	r.replica = replica
	if err := replica.CheckReader(p.CurrentLeaderEpoch, req.FromFollower); err != nil {
		return err
	}
	o := replica.Offsets()
	r.HighWatermark, r.LastStable, r.LogStart = o.HighWatermark, o.LastStable, o.LogStart
	if diverging, err := diverges(replica.Log(), p, o.LogStart); err != nil || diverging != nil {
		r.Diverging = diverging
		return err
	}
	if p.Offset < o.LogStart || p.Offset > o.End {
		return kerr.OffsetOutOfRange
	}
	if near := replica.NearReplica(req.Rack, p.Offset); near != metadata.NoBroker {
		r.Near = &near
		return nil
	}
	limit := o.HighWatermark
	if req.ReadCommitted {
		limit = o.LastStable
	}
	size := min(p.MaxBytes, left)
	if p.Offset >= limit || size <= 0 && !minOne {
		return nil
	}
	return f.records(r, req, p, replica.Log(), limit, size, minOne)
}

// records reads from the tier that holds the offset.
func (f *Fetcher) records(r *PartitionResult, req *Request, p *PartitionRequest, log *commitlog.Log, limit int64, size int, minOne bool) (err error) {
	cold := p.Offset < log.LocalStart()
	var damage *commitlog.CorruptionError
	if !cold {
		r.Records, err = log.Read(p.Offset, limit, max(size, 0), minOne)
		cold = errors.Is(err, kerr.OffsetOutOfRange) // trimmed in between
		if errors.As(err, &damage) && f.remote != nil {
			cold = true // until it is repaired
		}
	}
	if cold {
		if f.remote == nil {
			return fmt.Errorf("%w: offset %d is neither local nor in a bucket", kerr.KafkaStorageError, p.Offset)
		}
		r.Records, r.wait, err = f.remote.Read(p.TopicPartition, p.Offset, limit, max(size, 0), minOne)
		if err != nil && damage != nil {
			err = damage // it is not there either
		}
	}
	if err != nil || !req.ReadCommitted || r.Records.Bytes == 0 {
		return err
	}
	if cold {
		var wait <-chan struct{}
		if r.Aborted, wait, err = f.remote.Aborted(p.TopicPartition, p.Offset, limit); wait != nil {
			r.Records.Release() // without the list the records would show what was aborted
			r.Records, r.wait = commitlog.Slice{}, wait
			return err
		}
	}
	if err != nil {
		return err
	}
	local, err := log.Aborted(p.Offset, limit)
	r.Aborted = append(r.Aborted, local...)
	slices.SortFunc(r.Aborted, func(a, b commitlog.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return err
}

// diverges compares the reader's last epoch with the log's history (KIP-595): nil, nil when they agree.
func diverges(log *commitlog.Log, p *PartitionRequest, logStart int64) (*commitlog.EpochEntry, error) {
	if p.LastFetchedEpoch < 0 {
		return nil, nil
	}
	epoch, end := log.EpochEnd(p.LastFetchedEpoch)
	if epoch < 0 || p.Offset < logStart {
		return nil, kerr.OffsetOutOfRange
	}
	if epoch < p.LastFetchedEpoch || end < p.Offset {
		return &commitlog.EpochEntry{Epoch: epoch, StartOffset: end}, nil
	}
	return nil, nil
}
