package ingest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
	"varve/internal/config"
)

const (
	// zstdVersion is the first version of Produce that allows zstd (KIP-110).
	zstdVersion = 7
	// maxRecordErrors bounds the errors listed of one batch; nobody reads more.
	maxRecordErrors = 100
	// shownRecordErrors is how many of them the summary quotes, as in Kafka.
	shownRecordErrors = 3
)

// RecordError says which record of a batch was refused and why.
type RecordError struct {
	Index   int32
	Message string
}

// recordsError is a refusal of single records. Its text is what the client is told.
type recordsError struct {
	code    *kerr.Error
	records []RecordError
	total   int
}

// Error is Kafka's summary.
func (e *recordsError) Error() string {
	if e.code == kerr.InvalidTimestamp {
		return "One or more records have been rejected due to invalid timestamp"
	}
	text := ""
	for i, r := range e.records[:min(len(e.records), shownRecordErrors)] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", r.Index, r.Message)
	}
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]", e.total, text)
}

// Unwrap is the Kafka error.
func (e *recordsError) Unwrap() error { return e.code }

// add counts one refused record. A timestamp out of range decides the code of the whole.
func (e *recordsError) add(code *kerr.Error, index int32, format string, args ...any) {
	if e.total++; e.code == nil || code == kerr.InvalidTimestamp {
		e.code = code
	}
	if len(e.records) < maxRecordErrors {
		e.records = append(e.records, RecordError{index, fmt.Sprintf(format, args...)})
	}
}

// single returns the one batch that records must hold: kafka-rules 1.1, steps 4 and 5.
func single(records []byte, version int16) (record.Batch, error) {
	b, rest, err := record.Split(records)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %d bytes hold no whole batch", kerr.InvalidRecord, len(records))
	case b.Magic() != record.Magic2:
		return nil, fmt.Errorf("%w: magic %d", kerr.InvalidRecord, b.Magic())
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: more than one batch for a partition", kerr.InvalidRecord)
	case b.Codec() == record.Zstd && version < zstdVersion:
		return nil, kerr.UnsupportedCompressionType
	}
	return b, nil
}

// A check validates one batch for one topic: kafka-rules 1.1, steps 12 to 23.
type check struct {
	name string // of the partition, for messages
	cfg  *config.Topic
	now  time.Time
}

// batch validates b and returns what is to be appended: b, changed in place, or a rebuilt batch.
func (c check) batch(b record.Batch) (record.Batch, error) {
	if err := c.header(b); err != nil {
		return nil, err
	}
	maxTime, ordered, err := c.records(b)
	if err != nil {
		return nil, err
	}
	codec := targetCodec(c.cfg.CompressionType, b.Codec())
	if codec != b.Codec() || !ordered {
		if b, err = record.Rewrite(b, codec); err != nil {
			return nil, err
		}
		if len(b) > int(c.cfg.MaxMessageBytes) {
			return nil, fmt.Errorf("%w: %d bytes after compression", kerr.MessageTooLarge, len(b))
		}
	}
	if c.cfg.MessageTimestampAppend {
		b.SetMaxTimestamp(c.now.UnixMilli(), true)
	} else {
		b.SetMaxTimestamp(maxTime, false)
	}
	if int64(len(b)) > c.cfg.SegmentBytes {
		return nil, fmt.Errorf("%w: %d bytes, segment.bytes is %d", kerr.RecordListTooLarge, len(b), c.cfg.SegmentBytes)
	}
	return b, nil
}

// header checks what the header alone tells, and the CRC.
func (c check) header(b record.Batch) error {
	switch {
	case b.BaseOffset() != 0:
		return fmt.Errorf("%w: base offset %d", kerr.InvalidRecord, b.BaseOffset())
	case len(b) > int(c.cfg.MaxMessageBytes):
		return fmt.Errorf("%w: %d bytes, max.message.bytes is %d", kerr.MessageTooLarge, len(b), c.cfg.MaxMessageBytes)
	case !b.CheckCRC():
		return fmt.Errorf("%w: CRC", kerr.CorruptMessage)
	case b.Count() <= 0 || b.LastOffsetDelta() != b.Count()-1:
		return fmt.Errorf("%w: %d records, last offset delta %d", kerr.InvalidRecord, b.Count(), b.LastOffsetDelta())
	case b.Control():
		return fmt.Errorf("%w: a client may not write control batches", kerr.InvalidRecord)
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return fmt.Errorf("%w: producer %d without a sequence", kerr.InvalidRecord, b.ProducerID())
	case b.LogAppendTime() && c.cfg.MessageTimestampAppend:
		return fmt.Errorf("%w: the client's batch is marked LogAppendTime", kerr.InvalidTimestamp)
	}
	return nil
}

// records walks all records: their greatest timestamp, and whether their offsets are 0, 1, 2, ….
func (c check) records(b record.Batch) (maxTime int64, ordered bool, err error) {
	var refused recordsError
	now := c.now.UnixMilli()
	earliest, latest := now-c.cfg.TimestampBeforeMaxMs, now+c.cfg.TimestampAfterMaxMs
	if latest < now {
		latest = math.MaxInt64
	}
	base := b.BaseTimestamp()
	maxTime, ordered = -1, true
	index := int32(0)
	err = b.Walk(0, func(r *record.Record) error {
		ts := base + r.TimestampDelta
		switch {
		case c.cfg.CleanupCompact && r.Key == nil:
			refused.add(kerr.InvalidRecord, index, "Compacted topic cannot accept message without key in topic partition %s", c.name)
		case !c.cfg.MessageTimestampAppend && ts != -1 && (ts < earliest || ts > latest):
			refused.add(kerr.InvalidTimestamp, index, "Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				ts, r.OffsetDelta, earliest, latest)
		}
		maxTime = max(maxTime, ts)
		ordered = ordered && r.OffsetDelta == index
		index++
		return nil
	})
	if err == nil && refused.total > 0 {
		err = &refused
	}
	return maxTime, ordered, err
}

// targetCodec is the codec that compression.type asks for.
func targetCodec(compression string, source record.Codec) record.Codec {
	switch compression {
	case "uncompressed":
		return record.None
	case "gzip":
		return record.Gzip
	case "snappy":
		return record.Snappy
	case "lz4":
		return record.LZ4
	case "zstd":
		return record.Zstd
	}
	return source
}

// clientError gives every error a Kafka code.
func clientError(err error) error {
	var k *kerr.Error
	if err == nil || errors.As(err, &k) {
		return err
	}
	return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
}
