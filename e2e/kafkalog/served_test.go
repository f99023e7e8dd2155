//go:build e2e

package kafkalog

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }

// served is what a partition has for its clients.
type served struct {
	Start, Stable, End int64
	MaxTimestamp       [2]int64 // offset, timestamp
	Batches            []byte   // from Start
	Aborted            []abortedTxn
	Producers          []producerState
}

type abortedTxn struct{ ProducerID, FirstOffset int64 }

type producerState struct {
	ID                 int64
	Epoch              int16
	LastSequence       int32
	CurrentStartOffset int64
}

// TestKafkaServesOurDirectories: what our log serves of each kind of directory, Kafka serves of a copy; and what either serves after it had to recover
// every log, so does the other.
func TestKafkaServesOurDirectories(t *testing.T) {
	k := startKafka(t, kinds)
	ours := t.TempDir()
	d := openDir(t, ours)
	for _, kind := range kinds {
		w := &writer{t: t, log: openLog(t, d, kind.name, k.ids[kind.name])}
		w.must(w.log.BecomeLeader(0))
		kind.write(w)
		await(t, "everything on disk", func() bool { return w.log.Durable() == w.log.End() })
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("clean", func(t *testing.T) { sameServed(t, k, ours) })
	if err := os.Remove(filepath.Join(ours, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ours, "recovery-point-offset-checkpoint"), []byte("0\n0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("recovered", func(t *testing.T) { sameServed(t, k, ours) })
}

// sameServed opens one copy of a log directory here and one with Kafka.
func sameServed(t *testing.T, k *kafka, dir string) {
	k.put(t, dir)
	k.Start(t)
	defer k.Stop(t)
	cl, path := k.connect(t), t.TempDir()
	if err := os.CopyFS(path, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, path)
	defer d.Close()
	for _, kind := range kinds {
		want, got := serve(t, openLog(t, d, kind.name, k.ids[kind.name])), serves(t, cl, kind.name, k.ids[kind.name])
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the batches are the same: %v\nKafka has %+v\nours has  %+v", kind.name, bytes.Equal(got.Batches, want.Batches), brief(got), brief(want))
		}
	}
}

func brief(s served) served { s.Batches = s.Batches[:min(len(s.Batches), 4)]; return s }

// readLog returns a log's batches from the one that holds offset.
func readLog(t *testing.T, l *commitlog.Log, offset int64) (out []byte) {
	t.Helper()
	for offset < l.End() {
		s, err := l.Read(offset, l.End(), 1<<30, true)
		if err != nil {
			t.Fatal(err)
		}
		at := len(out)
		for _, p := range s.Pieces {
			b := p.Mem
			if p.File != nil {
				b = make([]byte, p.Len)
				if _, err := p.File.ReadAt(b, p.Pos); err != nil {
					t.Fatal(err)
				}
			}
			out = append(out, b...)
		}
		s.Release()
		offset = endOf(t, out[at:])
	}
	return out
}

// split takes batches apart.
func split(t *testing.T, b []byte) (out []record.Batch) {
	t.Helper()
	for len(b) > 0 {
		batch, rest, err := record.Split(b)
		if err != nil || !batch.CheckCRC() {
			t.Fatalf("a damaged batch is served: %v", err)
		}
		out, b = append(out, batch), rest
	}
	return out
}

// endOf is the offset behind the last of some batches.
func endOf(t *testing.T, b []byte) int64 {
	t.Helper()
	all := split(t, b)
	if len(all) == 0 {
		t.Fatal("nothing is served")
	}
	return all[len(all)-1].LastOffset() + 1
}

// serve asks our log.
func serve(t *testing.T, l *commitlog.Log) served {
	t.Helper()
	s := served{Start: l.LogStart(), End: l.End(), Stable: l.End(), MaxTimestamp: [2]int64{-1, -1}}
	if first, open := l.FirstUnstable(); open {
		s.Stable = first
	}
	if at, found, err := l.MaxTimestamp(l.End()); err != nil {
		t.Fatal(err)
	} else if found {
		s.MaxTimestamp = [2]int64{at.Offset, at.Timestamp}
	}
	aborted, err := l.Aborted(s.Start, s.Stable)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range aborted {
		s.Aborted = append(s.Aborted, abortedTxn{a.ProducerID, a.FirstOffset})
	}
	slices.SortFunc(s.Aborted, byOffset)
	for _, p := range l.Producers() {
		s.Producers = append(s.Producers, producerState{p.ProducerID, p.Epoch, p.LastSequence, p.TxnStartOffset})
	}
	s.Batches = readLog(t, l, s.Start)
	return s
}

// serves asks Kafka the same.
func serves(t *testing.T, cl *kgo.Client, topic string, id uuid.UUID) served {
	t.Helper()
	s := served{Start: listOffset(t, cl, topic, -2, 0)[0], End: listOffset(t, cl, topic, -1, 0)[0], Stable: listOffset(t, cl, topic, -1, 1)[0],
		MaxTimestamp: listOffset(t, cl, topic, -3, 0)}
	for at := s.Start; at < s.End; {
		p := fetch(t, cl, id, at, 0)
		s.Batches = append(s.Batches, p.RecordBatches...)
		at = endOf(t, p.RecordBatches)
	}
	for at := s.Start; at < s.Stable; { // an answer does not cross the end of a segment
		p := fetch(t, cl, id, at, 1)
		for _, a := range p.AbortedTransactions {
			s.Aborted = append(s.Aborted, abortedTxn{a.ProducerID, a.FirstOffset})
		}
		at = endOf(t, p.RecordBatches)
	}
	slices.SortFunc(s.Aborted, byOffset)
	s.Aborted = slices.Compact(s.Aborted)
	r := ask(t, cl, func() *kmsg.DescribeProducersRequest {
		r := kmsg.NewPtrDescribeProducersRequest()
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{0}}}
		return r
	}, func(r *kmsg.DescribeProducersResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode })
	for _, p := range r.Topics[0].Partitions[0].ActiveProducers {
		s.Producers = append(s.Producers, producerState{p.ProducerID, int16(p.ProducerEpoch), p.LastSequence, p.CurrentTxnStartOffset})
	}
	slices.SortFunc(s.Producers, func(a, b producerState) int { return int(a.ID - b.ID) })
	return s
}

func byOffset(a, b abortedTxn) int { return int(a.FirstOffset - b.FirstOffset) }

// listOffset answers for Kafka's special timestamps: offset and timestamp.
func listOffset(t *testing.T, cl *kgo.Client, topic string, timestamp int64, isolation int8) [2]int64 {
	t.Helper()
	r := ask(t, cl, func() *kmsg.ListOffsetsRequest {
		r := kmsg.NewPtrListOffsetsRequest()
		r.ReplicaID, r.IsolationLevel = -1, isolation
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = timestamp
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		return r
	}, func(r *kmsg.ListOffsetsResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode })
	p := r.Topics[0].Partitions[0]
	return [2]int64{p.Offset, p.Timestamp}
}

// fetch reads batches from the one that holds offset.
func fetch(t *testing.T, cl *kgo.Client, id uuid.UUID, offset int64, isolation int8) kmsg.FetchResponseTopicPartition {
	t.Helper()
	r := ask(t, cl, func() *kmsg.FetchRequest {
		r := kmsg.NewPtrFetchRequest()
		r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.IsolationLevel, r.SessionEpoch = 1000, 1, 50<<20, isolation, -1
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes = offset, 50<<20
		r.Topics = []kmsg.FetchRequestTopic{{TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
		return r
	}, func(r *kmsg.FetchResponse) int16 {
		if r.ErrorCode != 0 || len(r.Topics) == 0 {
			return r.ErrorCode
		}
		return r.Topics[0].Partitions[0].ErrorCode
	})
	return r.Topics[0].Partitions[0]
}
