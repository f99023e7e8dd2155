package commitlog

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog/record"
)

// The directories of testdata/golden were written by Apache Kafka, and the .jsonl files beside them say what its clients read.

const goldenRoot = "../testdata/golden"

// goldenClusterID is the cluster of all golden directories.
const goldenClusterID = "VarveGoldenLogDirs0001"

// goldenCases are the cases that were left by a clean stop.
var goldenCases = []string{
	"empty", "plain", "gzip", "snappy", "lz4", "zstd", "recompressed", "uncompressed", "multi-segment", "index-dense", "index-full",
	"time-roll", "logappendtime", "logappendtime-zstd", "out-of-order", "out-of-order-lz4", "idempotent", "transactional", "transactional-open",
	"compacted", "compacted-deleted", "delete-records", "delete-records-all", "delete-records-one-segment", "epochs",
}

// crashCases are pairs: what kill -9 (and damage) left, and what Kafka recovered it to.
var crashCases = []string{
	"crash", "crash-transactions", "corrupt-truncated", "corrupt-flipped", "corrupt-middle", "corrupt-garbage", "corrupt-zeros", "corrupt-index",
}

// goldenConfig is the configuration of a case's topic, as Generate.java set it.
func goldenConfig(name string) Config {
	cfg := DefaultConfig()
	cfg.SegmentAge = math.MaxInt64
	cfg.SegmentIndexBytes = 16384
	cfg.ProducerIDExpiration = math.MaxInt64 // markers carry the time at which Kafka wrote them
	set := func(segment, interval int64) { cfg.SegmentBytes, cfg.IndexIntervalBytes = segment, interval }
	switch name {
	case "multi-segment", "delete-records", "delete-records-all":
		set(4096, 512)
	case "delete-records-one-segment":
		set(65536, 512)
	case "index-dense":
		set(1<<30, 128)
	case "index-full":
		set(1<<30, 128)
		cfg.SegmentIndexBytes = 120
	case "time-roll":
		cfg.SegmentAge = time.Hour
	case "out-of-order":
		set(8192, 256)
	case "out-of-order-lz4":
		set(1<<30, 256)
	case "idempotent":
		set(8192, 4096)
	case "transactional", "crash-transactions":
		set(2048, 128)
	case "compacted", "compacted-deleted":
		set(6144, 256)
	case "epochs":
		set(4096, 256)
	case "crash", "corrupt-truncated", "corrupt-flipped", "corrupt-middle", "corrupt-garbage", "corrupt-zeros", "corrupt-index":
		set(2560, 256)
	}
	return cfg
}

// openGolden opens a copy of a case's partition in a copy of its log directory.
func openGolden(t *testing.T, folder, name, logdir string) (*Dir, *Log) {
	t.Helper()
	path := t.TempDir()
	if err := os.CopyFS(path, os.DirFS(filepath.Join(goldenRoot, "logdir", logdir))); err != nil {
		t.Fatal(err)
	}
	partition := name + "-0"
	if err := os.CopyFS(filepath.Join(path, partition), os.DirFS(filepath.Join(goldenRoot, folder, partition))); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, path, DirOptions{ClusterID: goldenClusterID, NodeID: 1})
	id, ok, err := d.readTopicID(filepath.Join(path, partition))
	if err != nil || !ok {
		t.Fatalf("partition.metadata: %v", err)
	}
	l, err := d.OpenLog(partition, id, goldenConfig(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, l
}

func logdirOf(name string) string {
	if name == "epochs" {
		return "restarts"
	}
	return "steady"
}

func TestGoldenServesWhatKafkaServed(t *testing.T) {
	for _, name := range goldenCases {
		t.Run(name, func(t *testing.T) {
			d, l := openGolden(t, name, name, logdirOf(name))
			if !d.Clean() {
				t.Fatal("the clean-shutdown marker was not seen")
			}
			compareServed(t, l, name)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, l, name+"/"+l.Name(), func(e []EpochEntry) []EpochEntry {
				// An epoch without data is forgotten when the log is opened, by Kafka as well.
				return slices.DeleteFunc(e, func(e EpochEntry) bool { return e.StartOffset >= l.End() })
			})
		})
	}
}

func TestGoldenRecoversAsKafkaRecovered(t *testing.T) {
	for _, name := range crashCases {
		t.Run(name, func(t *testing.T) {
			d, l := openGolden(t, name+"-before", name, "crash-before")
			if d.Clean() {
				t.Fatal("a clean shutdown after kill -9")
			}
			compareServed(t, l, name+"-after")
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, l, name+"-after/"+l.Name(), func(e []EpochEntry) []EpochEntry {
				return e[:len(e)-1] // Kafka led the log again after it had recovered it
			})
		})
	}
}

// compareServed compares reads, lookups by time, epochs and producers with what Kafka answered.
func compareServed(t *testing.T, l *Log, folder string) {
	t.Helper()
	stable := l.End()
	if o, ok := l.FirstUnstable(); ok {
		stable = o
	}
	wantAll, wantCommitted := readRecords(t, folder, "read_uncommitted"), readRecords(t, folder, "read_committed")
	compareRecords(t, "read_uncommitted", consume(t, l, l.End(), nil), wantAll)
	aborted, err := l.Aborted(l.LocalStart(), stable)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(aborted, func(a, b AbortedTxn) int { return int(a.FirstOffset - b.FirstOffset) })
	compareRecords(t, "read_committed", consume(t, l, stable, aborted), wantCommitted)
	compareLookups(t, l, folder, stable)
}

// goldenRecord is a line of read_*.jsonl.
type goldenRecord struct {
	Offset        int64        `json:"offset"`
	Timestamp     int64        `json:"timestamp"`
	TimestampType string       `json:"timestamp_type"`
	LeaderEpoch   int32        `json:"leader_epoch"`
	Key           *string      `json:"key"`
	Value         *string      `json:"value"`
	Headers       [][2]*string `json:"headers"` // key in plain text, value
}

func jsonLines[T any](t *testing.T, path string) (out []T) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Buffer(nil, 1<<20); s.Scan(); {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, v)
	}
	return out
}

func readRecords(t *testing.T, folder, what string) []goldenRecord {
	return jsonLines[goldenRecord](t, filepath.Join(goldenRoot, folder, what+".jsonl"))
}

func compareRecords(t *testing.T, what string, got, want []goldenRecord) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d records, Kafka served %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			g, _ := json.Marshal(got[i])
			w, _ := json.Marshal(want[i])
			t.Fatalf("%s: record %d\n got %s\nwant %s", what, i, g, w)
		}
	}
}

// consume reads like a consumer: with aborted as read_committed, without as read_uncommitted.
func consume(t *testing.T, l *Log, upTo int64, aborted []AbortedTxn) (out []goldenRecord) {
	t.Helper()
	skip := map[int64]int64{} // producer id -> first offset of the transaction being skipped
	for offset := l.LocalStart(); offset < upTo; {
		s, err := l.Read(offset, upTo, 700, true)
		if err != nil {
			t.Fatal(err)
		}
		data := sliceBytes(t, s)
		s.Release()
		if len(data) == 0 {
			return out // compaction removed the rest
		}
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			if err != nil {
				break
			}
			if !b.CheckCRC() {
				t.Fatalf("CRC of the batch at %d", b.BaseOffset())
			}
			for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
				skip[aborted[0].ProducerID] = aborted[0].FirstOffset
				aborted = aborted[1:]
			}
			if b.Control() {
				delete(skip, b.ProducerID())
			} else if _, skipped := skip[b.ProducerID()]; !skipped || !b.Transactional() {
				out = appendRecords(t, out, b, l.LocalStart())
			}
			offset, data = b.LastOffset()+1, rest
		}
	}
	return out
}

func appendRecords(t *testing.T, out []goldenRecord, b record.Batch, from int64) []goldenRecord {
	t.Helper()
	text := func(v []byte) *string {
		if v == nil {
			return nil
		}
		s := base64.StdEncoding.EncodeToString(v)
		return &s
	}
	err := b.Walk(0, func(r *record.Record) error {
		if r.Offset(b) < from {
			return nil
		}
		g := goldenRecord{
			Offset: r.Offset(b), Timestamp: r.Timestamp(b), TimestampType: "CreateTime", LeaderEpoch: b.LeaderEpoch(),
			Key: text(r.Key), Value: text(r.Value), Headers: [][2]*string{},
		}
		if b.LogAppendTime() {
			g.TimestampType = "LogAppendTime"
		}
		headers, err := record.ParseHeaders(r)
		for _, h := range headers {
			g.Headers = append(g.Headers, [2]*string{&h.Key, text(h.Value)})
		}
		out = append(out, g)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// goldenLookup is a line of lookups.jsonl.
type goldenLookup struct {
	API            string `json:"api"`
	Isolation      string `json:"isolation"`
	Spec           string `json:"spec"`
	Timestamp      *int64 `json:"timestamp"`
	FoundOffset    int64  `json:"found_offset"`
	FoundTimestamp int64  `json:"found_timestamp"`
	LeaderEpoch    *int32 `json:"leader_epoch"`
	Error          string `json:"error"`
	Epoch          int32  `json:"epoch"`
	FoundEpoch     int32  `json:"found_epoch"`
	EndOffset      int64  `json:"end_offset"`

	ProducerID       int64 `json:"producer_id"`
	ProducerEpoch    int16 `json:"producer_epoch"`
	LastSequence     int32 `json:"last_sequence"`
	LastTimestamp    int64 `json:"last_timestamp"`
	CoordinatorEpoch int32 `json:"coordinator_epoch"`
	TxnStart         int64 `json:"current_txn_start_offset"`
}

func compareLookups(t *testing.T, l *Log, folder string, stable int64) {
	t.Helper()
	var producers []ProducerInfo
	for _, want := range jsonLines[goldenLookup](t, filepath.Join(goldenRoot, folder, "lookups.jsonl")) {
		if want.Error != "" {
			continue // leadership is not the log's
		}
		switch want.API {
		case "ListOffsets":
			compareListOffsets(t, l, want, stable)
		case "OffsetForLeaderEpoch":
			if want.Epoch > l.epochs.latest() || want.FoundEpoch > l.epochs.latest() {
				continue // an epoch that began when Kafka led the log again
			}
			if epoch, end := l.EpochEnd(want.Epoch); epoch != want.FoundEpoch || end != want.EndOffset {
				t.Errorf("epoch %d ends at (%d, %d), Kafka says (%d, %d)", want.Epoch, epoch, end, want.FoundEpoch, want.EndOffset)
			}
		case "DescribeProducers":
			producers = append(producers, ProducerInfo{want.ProducerID, want.ProducerEpoch, want.LastSequence, want.LastTimestamp, want.CoordinatorEpoch, want.TxnStart})
		}
	}
	slices.SortFunc(producers, func(a, b ProducerInfo) int { return int(a.ProducerID - b.ProducerID) })
	if got := l.Producers(); len(got)+len(producers) > 0 && !reflect.DeepEqual(got, producers) {
		t.Errorf("producers\n got %+v\nwant %+v", got, producers)
	}
}

func compareListOffsets(t *testing.T, l *Log, want goldenLookup, stable int64) {
	t.Helper()
	upTo := l.End()
	if want.Isolation == "read_committed" {
		upTo = stable
	}
	got := TimestampOffset{-1, -1, -1}
	var ok bool
	var err error
	switch {
	case want.Timestamp != nil:
		got, ok, err = l.OffsetForTimestamp(*want.Timestamp, upTo)
	case want.Spec == "max_timestamp":
		got, ok, err = l.MaxTimestamp(upTo)
		if want.FoundOffset < 0 && upTo < l.End() || want.FoundOffset < l.LogStart() {
			return // not as Kafka: see MaxTimestamp
		}
	case want.Spec == "earliest":
		got, ok = TimestampOffset{-1, l.LogStart(), 0}, true
	case want.Spec == "earliest_local":
		got, ok = TimestampOffset{-1, l.LocalStart(), 0}, true
	case want.Spec == "latest":
		got, ok = TimestampOffset{-1, upTo, 0}, true
	default:
		return // about the tier
	}
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		got = TimestampOffset{-1, -1, -1}
	}
	byTime := want.Timestamp != nil || want.Spec == "max_timestamp"
	if got.Offset != want.FoundOffset || byTime && ok && (got.Timestamp != want.FoundTimestamp || got.LeaderEpoch != *want.LeaderEpoch) {
		ts := int64(-1)
		if want.Timestamp != nil {
			ts = *want.Timestamp
		}
		t.Errorf("%s %s %d: got %+v, Kafka found offset %d, timestamp %d", want.Isolation, want.Spec, ts, got, want.FoundOffset, want.FoundTimestamp)
	}
}

// compareFiles compares what lies in a closed log's directory with the files that Kafka left, byte for byte, except for the lines of
// leader-epoch-checkpoint that dropEpochs removes.
func compareFiles(t *testing.T, l *Log, golden string, dropEpochs func([]EpochEntry) []EpochEntry) {
	t.Helper()
	got, want := readFiles(t, l.path), readFiles(t, filepath.Join(goldenRoot, golden))
	for name, b := range want {
		switch ours, ok := got[name]; {
		case !ok && golden == "epochs/epochs-0" && name == "00000000000000000096.snapshot":
			// left by a clean stop before the last one: removed when the log is opened the next time, by Kafka as well
		case !ok:
			t.Errorf("%s is missing", name)
		case name == epochCheckpointName:
			entries, err := decodeEpochs(b)
			if err != nil {
				t.Fatal(err)
			}
			if want := encodeEpochs(dropEpochs(entries)); !bytes.Equal(ours, want) {
				t.Errorf("%s\n got %q\nwant %q", name, ours, want)
			}
		case strings.HasSuffix(name, snapshotSuffix):
			compareSnapshots(t, name, ours, b)
		case !bytes.Equal(ours, b):
			t.Errorf("%s: %d bytes differ from Kafka's %d\n got %x\nwant %x", name, len(ours), len(b), cut(ours), cut(b))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: Kafka has no such file", name)
		}
	}
}

func cut(b []byte) []byte { return b[:min(len(b), 240)] }

// compareSnapshots compares producer snapshots entry by entry: Kafka orders them by a hash.
func compareSnapshots(t *testing.T, name string, got, want []byte) {
	t.Helper()
	g, err := decodeProducers(got, time.UnixMilli(0), 0)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w, err := decodeProducers(want, time.UnixMilli(0), 0)
	if err != nil {
		t.Fatalf("%s of Kafka: %v", name, err)
	}
	if len(got) != len(want) || !bytes.Equal(g.encode(), w.encode()) {
		t.Errorf("%s\n got %+v\nwant %+v", name, g.info(), w.info())
	}
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestGoldenAppendWritesTheSameFiles appends the batches of Kafka's logs to empty logs of the same configuration: every file must come out the same.
func TestGoldenAppendWritesTheSameFiles(t *testing.T) {
	for _, name := range goldenCases {
		if strings.HasPrefix(name, "compacted") || name == "delete-records" || name == "delete-records-all" {
			continue // what compaction and retention removed cannot be appended again
		}
		t.Run(name, func(t *testing.T) {
			batches := goldenBatches(t, name)
			for _, how := range []string{"leader", "follower"} {
				t.Run(how, func(t *testing.T) { appendGolden(t, name, how, batches) })
			}
		})
	}
}

func appendGolden(t *testing.T, name, how string, batches []record.Batch) {
	path := t.TempDir()
	open := func() (*Dir, *Log) {
		d := openDir(t, path, DirOptions{ClusterID: goldenClusterID, NodeID: 1})
		l, err := d.OpenLog(name+"-0", goldenTopicID(t, name), goldenConfig(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d, l
	}
	d, l := open()
	for i, e := range goldenEpochs(t, name) { // each is one run of Kafka, ended by a clean stop
		if i > 0 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d, l = open()
		}
		n := slices.IndexFunc(batches, func(b record.Batch) bool { return b.LeaderEpoch() > e.Epoch })
		if n < 0 {
			n = len(batches)
		}
		if err := l.BecomeLeader(e.Epoch); err != nil {
			t.Fatal(err)
		}
		if how == "follower" {
			if err := l.AppendReplicated(slices.Concat(batches[:n]...)); err != nil {
				t.Fatal(err)
			}
		} else {
			appendAsLeader(t, l, batches[:n], e.Epoch)
		}
		batches = batches[n:]
	}
	if name == "delete-records-one-segment" {
		if err := l.SetLogStart(35); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	compareFiles(t, l, name+"/"+l.Name(), func(e []EpochEntry) []EpochEntry { return e })
}

func appendAsLeader(t *testing.T, l *Log, batches []record.Batch, epoch int32) {
	t.Helper()
	for _, b := range batches {
		want := b.BaseOffset()
		b = slices.Clone(b)
		b.SetBaseOffset(0)
		if a := mustAppend(t, l, b, epoch); a.BaseOffset != want || a.Duplicate {
			t.Fatalf("appended %+v, Kafka gave offset %d", a, want)
		}
	}
}

func goldenTopicID(t *testing.T, name string) uuid.UUID {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenRoot, name, name+"-0", partitionName))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "topic_id: ")
	id, err := decodeID(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func goldenEpochs(t *testing.T, name string) []EpochEntry {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenRoot, name, name+"-0", epochCheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := decodeEpochs(b)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// goldenBatches returns all batches of a case's log.
func goldenBatches(t *testing.T, name string) (out []record.Batch) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goldenRoot, name, name+"-0", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			batch, rest, err := record.Split(b)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			out, b = append(out, batch), rest
		}
	}
	return out
}
