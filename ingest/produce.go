package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
	"varve/replica"
)

// minWait is the least time that an acknowledgement may take: timeout.ms is meant for other replicas, and a client that gives 0
// still wants to know that this broker's disk has its records.
const minWait = 500 * time.Millisecond

// PartitionRequest is the records for one partition. Records alias the request's buffer, which must live until Append has returned.
type PartitionRequest struct {
	TopicPartition metadata.TopicPartition
	Records        []byte // nil: null
	Unknown        bool   // the metadata has no such partition
}

// PartitionResult is the answer for one partition, in the order of the request.
type PartitionResult struct {
	Err           error // nil or wrapping a *kerr.Error
	BaseOffset    int64 // -1 on error
	LogAppendTime int64 // -1 unless LogAppendTime
	LogStart      int64 // -1 for the errors that do not tell it
	RecordErrors  []RecordError
	ErrorMessage  string // empty: null
	LeaderEpoch   int32  // as this broker knows it, -1: unknown
}

// Producer is the produce path over the partitions of this broker. Safe for concurrent use.
type Producer struct {
	partitions *replica.Manager
	logger     *slog.Logger
}

// New returns the produce path over m's partitions. logger may be nil.
func New(m *replica.Manager, logger *slog.Logger) *Producer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Producer{m, logger}
}

// Pending is a produce that was appended and may still wait for its acknowledgements. It belongs to one goroutine at a time.
type Pending struct {
	producer *Producer
	acks     int16
	results  []PartitionResult
	waits    []wait
}

// wait is one partition whose records are not acknowledged yet.
type wait struct {
	result    int
	partition *replica.Partition
	end       int64
}

// Append validates and appends each partition's batch in order; it does not wait. A transactional batch is refused unless
// transactional says that the request carries a transactional id.
func (p *Producer) Append(acks int16, version int16, transactional bool, parts []PartitionRequest, now time.Time) *Pending {
	w := &Pending{producer: p, acks: acks, results: make([]PartitionResult, len(parts))}
	for i := range parts {
		r := &w.results[i]
		*r = PartitionResult{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, LeaderEpoch: -1}
		replica, end, err := p.append(acks, version, transactional, &parts[i], now, r)
		if err != nil {
			p.refused(r, replica, err)
		} else if acks != 0 {
			w.waits = append(w.waits, wait{i, replica, end})
		}
	}
	return w
}

// append handles one partition. The replica is returned as soon as it is known, also with an error.
func (p *Producer) append(acks, version int16, transactional bool, part *PartitionRequest, now time.Time, r *PartitionResult) (*replica.Partition, int64, error) {
	if part.Unknown {
		return nil, 0, kerr.UnknownTopicOrPartition
	}
	b, err := single(part.Records, version)
	if err != nil {
		return nil, 0, err
	}
	if acks < -1 || acks > 1 {
		return nil, 0, kerr.InvalidRequiredAcks
	}
	if b.Transactional() && !transactional {
		return nil, 0, kerr.TransactionalIDAuthorizationFailed
	}
	partition, err := p.partitions.Partition(part.TopicPartition)
	if err != nil {
		return nil, 0, err
	}
	r.LeaderEpoch = partition.LeaderEpoch()
	if !partition.Leading() {
		return nil, 0, kerr.NotLeaderForPartition
	}
	partition.Traffic().Produces.Add(1)
	size := len(b)
	if b, err = (check{partition.Log().Name(), partition.Config(), now}).batch(b); err != nil {
		return partition, 0, err
	}
	count := b.Count()
	done, err := partition.Append(b, acks, now)
	if err != nil {
		return partition, 0, err
	}
	partition.Traffic().BytesIn.Add(int64(size))
	partition.Traffic().MessagesIn.Add(int64(count))
	r.BaseOffset, r.LogAppendTime, r.LogStart = done.BaseOffset, done.LogAppendTime, partition.Log().LogStart()
	return partition, done.LastOffset + 1, nil
}

// refused fills in r for an error. Kafka tells the log start with those that the validator and the log find.
func (p *Producer) refused(r *PartitionResult, partition *replica.Partition, err error) {
	traffic := p.partitions.Elsewhere()
	if partition != nil {
		traffic = partition.Traffic()
	} else {
		traffic.Produces.Add(1)
	}
	traffic.FailedProduces.Add(1)
	var k *kerr.Error
	if !errors.As(err, &k) {
		p.logger.Error("append failed", "error", err)
	}
	r.Err = clientError(err)
	var records *recordsError
	if errors.As(err, &records) {
		r.RecordErrors, r.ErrorMessage = records.records, records.Error()
	}
	for _, silent := range []error{kerr.NotLeaderForPartition, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.CorruptMessage, kerr.KafkaStorageError} {
		if errors.Is(r.Err, silent) {
			return
		}
	}
	if partition != nil {
		r.LogStart = partition.Log().LogStart()
	}
}

// Done reports whether nothing is left to wait for (acks 0, all failed, or already acknowledged).
func (w *Pending) Done() bool {
	for len(w.waits) > 0 {
		if !w.settled(w.waits[0]) {
			return false
		}
		w.waits = w.waits[1:]
	}
	return true
}

// settled reports whether x needs no more waiting; if that is because it failed, its result says so.
func (w *Pending) settled(x wait) bool {
	acked, err := x.partition.Acked(x.end, w.acks)
	if err != nil {
		w.fail(x, err)
	}
	return acked || err != nil
}

func (w *Pending) fail(x wait, err error) {
	x.partition.Traffic().FailedProduces.Add(1)
	r := &w.results[x.result]
	r.Err, r.BaseOffset, r.LogAppendTime, r.LogStart = clientError(err), -1, -1, -1
}

// Wait blocks until every partition is acknowledged, failed, or timeout has passed (REQUEST_TIMED_OUT).
func (w *Pending) Wait(ctx context.Context, timeout time.Duration) []PartitionResult {
	if w.Done() {
		return w.results
	}
	deadline := time.Now().Add(max(timeout, minWait))
	waiters := w.producer.partitions.Waiters()
	for _, x := range w.waits {
		key := [1]metadata.TopicPartition{x.partition.Key()}
		if !waiters.Await(ctx, time.Until(deadline), key[:], func() bool { return w.settled(x) }) {
			w.fail(x, kerr.RequestTimedOut)
		}
	}
	w.waits = nil
	return w.results
}
