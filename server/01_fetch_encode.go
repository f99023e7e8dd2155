package server

import (
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/fetch"
)

// A fetchBody is the body of a Fetch response whose record bytes stay where they are: everything else is encoded into head, and records
// are sent between its parts, from memory or straight from their files. kmsg would copy every record and grow its buffer on the way.
//
//	head  [ ..cuts[0] )  records of partition 0  [ cuts[0]..cuts[1] )  records of partition 1  …  [ cuts[n-1].. )
type fetchBody struct {
	head    []byte
	cuts    []int              // where in head the records of each partition belong
	records []*commitlog.Slice // of each partition, in the order of the response
	results []fetch.PartitionResult
	bytes   int
}

// fetchHeads are buffers of encoded heads; a head is small, whatever the records' size.
var fetchHeads = sync.Pool{New: func() any { return new(fetchBody) }}

// maxPooledHead bounds what an unusually wide fetch leaves in the pool, in bytes.
const maxPooledHead = 64 << 10

// newFetchBody encodes resp for version. records[i] are those of the i-th partition of resp, whose RecordBatches are ignored. results
// own the records and are released with the body.
func newFetchBody(resp *kmsg.FetchResponse, version int16, records []*commitlog.Slice, results []fetch.PartitionResult) *fetchBody {
	b := fetchHeads.Get().(*fetchBody)
	b.records, b.results = records, results
	b.encode(resp, version)
	b.bytes = len(b.head)
	for _, r := range records {
		b.bytes += r.Bytes
	}
	return b
}

func (b *fetchBody) size() int { return b.bytes }

func (b *fetchBody) write(w *connWriter) error {
	from := 0
	for i, cut := range b.cuts {
		w.buf = append(w.buf, b.head[from:cut]...)
		from = cut
		for _, piece := range b.records[i].Pieces {
			if err := w.piece(piece); err != nil {
				return err
			}
		}
	}
	w.buf = append(w.buf, b.head[from:]...)
	return nil
}

func (b *fetchBody) release() {
	fetch.Release(b.results)
	b.head, b.cuts = b.head[:0], b.cuts[:0]
	b.records, b.results = nil, nil
	if cap(b.head) <= maxPooledHead {
		fetchHeads.Put(b)
	}
}

// fetchFlexible is the first version with compact lengths and tagged fields.
const fetchFlexible = 12

// encode writes the response without records into head and notes the cuts. Fields by version: FetchResponse.json of Kafka 4.3.
func (b *fetchBody) encode(r *kmsg.FetchResponse, version int16) {
	flexible := version >= fetchFlexible
	out := binary.BigEndian.AppendUint32(b.head, uint32(r.ThrottleMillis))
	if version >= 7 {
		out = binary.BigEndian.AppendUint16(out, uint16(r.ErrorCode))
		out = binary.BigEndian.AppendUint32(out, uint32(r.SessionID))
	}
	out = appendLength(out, len(r.Topics), flexible)
	partition := 0
	for i := range r.Topics {
		t := &r.Topics[i]
		switch {
		case version >= topicIDVersion:
			out = append(out, t.TopicID[:]...)
		case flexible:
			out = append(appendLength(out, len(t.Topic), true), t.Topic...)
		default:
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(t.Topic))), t.Topic...)
		}
		out = appendLength(out, len(t.Partitions), flexible)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			out = appendFetched(out, p, version)
			out = appendLength(out, b.records[partition].Bytes, flexible)
			b.cuts = append(b.cuts, len(out))
			partition++
			if flexible {
				out = appendFetchedTags(out, p)
			}
		}
		if flexible {
			out = append(out, 0)
		}
	}
	if flexible {
		out = append(out, 0)
	}
	b.head = out
}

// appendFetched writes what stands before the records of a partition.
func appendFetched(out []byte, p *kmsg.FetchResponseTopicPartition, version int16) []byte {
	flexible := version >= fetchFlexible
	out = binary.BigEndian.AppendUint32(out, uint32(p.Partition))
	out = binary.BigEndian.AppendUint16(out, uint16(p.ErrorCode))
	out = binary.BigEndian.AppendUint64(out, uint64(p.HighWatermark))
	out = binary.BigEndian.AppendUint64(out, uint64(p.LastStableOffset))
	if version >= 5 {
		out = binary.BigEndian.AppendUint64(out, uint64(p.LogStartOffset))
	}
	if p.AbortedTransactions == nil {
		out = appendLength(out, -1, flexible)
	} else {
		out = appendLength(out, len(p.AbortedTransactions), flexible)
	}
	for _, a := range p.AbortedTransactions {
		out = binary.BigEndian.AppendUint64(out, uint64(a.ProducerID))
		out = binary.BigEndian.AppendUint64(out, uint64(a.FirstOffset))
		if flexible {
			out = append(out, 0)
		}
	}
	if version >= 11 {
		out = binary.BigEndian.AppendUint32(out, uint32(p.PreferredReadReplica))
	}
	return out
}

// appendFetchedTags writes the tagged fields of a partition: diverging epoch (0) and current leader (1), each only if set, each of a
// fixed size and without tags of its own.
func appendFetchedTags(out []byte, p *kmsg.FetchResponseTopicPartition) []byte {
	diverging := p.DivergingEpoch.Epoch != -1 || p.DivergingEpoch.EndOffset != -1
	leader := p.CurrentLeader.LeaderID != -1 || p.CurrentLeader.LeaderEpoch != -1
	at := len(out)
	out = append(out, 0)
	if diverging {
		out[at]++
		out = append(out, 0, 4+8+1)
		out = binary.BigEndian.AppendUint32(out, uint32(p.DivergingEpoch.Epoch))
		out = binary.BigEndian.AppendUint64(out, uint64(p.DivergingEpoch.EndOffset))
		out = append(out, 0)
	}
	if leader {
		out[at]++
		out = append(out, 1, 4+4+1)
		out = binary.BigEndian.AppendUint32(out, uint32(p.CurrentLeader.LeaderID))
		out = binary.BigEndian.AppendUint32(out, uint32(p.CurrentLeader.LeaderEpoch))
		out = append(out, 0)
	}
	return out
}

// appendLength writes the length of an array or of bytes, -1 for null: compact (one more, as a varint) or four bytes.
func appendLength(out []byte, n int, compact bool) []byte {
	if compact {
		return binary.AppendUvarint(out, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(out, uint32(n))
}
