package commitlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"

	"varve/commitlog/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func smallSegments() Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1200, 200
	return cfg
}

// TestReadersKeepDeletedSegments: retention takes the names, the bytes stay until the last reader lets go.
func TestReadersKeepDeletedSegments(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, TailBytes: -1})
	l := openLog(t, d, "topic-0", smallSegments())
	for range 20 {
		mustAppend(t, l, plain(5, 1), 1)
	}
	waitDurable(t, l)
	want := contents(t, l, 0, 10)
	s, err := l.Read(0, 10, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := l.OpenSealed(0)
	if err != nil {
		t.Fatal(err)
	}
	last := l.Segments()[len(l.Segments())-1].BaseOffset
	n, gone, err := l.DeleteBefore(last)
	if err != nil || n != len(l.Segments())+n-1 || gone == 0 || l.LocalStart() != last {
		t.Fatalf("deleted %d segments of %d bytes, %v; the log begins at %d, not %d", n, gone, err, l.LocalStart(), last)
	}
	eventually(t, "the files are removed", func() bool {
		entries, err := os.ReadDir(l.path)
		return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			base, ok := anyBase(strings.TrimSuffix(e.Name(), deletedSuffix))
			return ok && base < last
		})
	})
	if got := sliceBytes(t, s); !bytes.Equal(got, want) {
		t.Fatal("the slice's bytes changed")
	}
	whole := make([]byte, sealed.Bytes)
	if _, err := sealed.Log.ReadAt(whole, 0); err != nil || !bytes.HasPrefix(whole, want) {
		t.Fatalf("the sealed segment's bytes changed: %v", err)
	}
	s.Release()
	sealed.Release()
	if _, err := l.Read(0, l.End(), 100, true); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("read below the local start: %v", err)
	}
	if _, err := l.OpenSealed(0); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("open a deleted segment: %v", err)
	}
}

// TestSealedIsWhatIsOnDisk: an upload sees the same index files whether the keeper has written them or not.
func TestSealedIsWhatIsOnDisk(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range int32(100) {
		mustAppend(t, l, producerBatch{id: 5, sequence: i * 4, n: 4, transactional: true}.build(), 3)
		if l.view.Load().active().size() > 900 {
			break
		}
	}
	mustAppend(t, l, marker(5, 0, false, 1), 3)
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	infos := l.Segments()
	last := infos[len(infos)-2]
	early, err := l.OpenSealed(last.BaseOffset)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Release()
	eventually(t, "the index is written", func() bool { return l.view.Load().segments[len(infos)-2].sealedOnDisk() })
	late, err := l.OpenSealed(last.BaseOffset)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Release()
	for _, c := range []struct {
		what, suffix string
		at           int64
		early, late  []byte
	}{
		{"index", indexSuffix, last.BaseOffset, early.Index, late.Index},
		{"time index", timeSuffix, last.BaseOffset, early.TimeIndex, late.TimeIndex},
		{"transaction index", txnSuffix, last.BaseOffset, early.TxnIndex, late.TxnIndex},
		{"snapshot", snapshotSuffix, last.EndOffset, early.ProducerSnapshot, late.ProducerSnapshot},
	} {
		disk, err := os.ReadFile(segmentPath(l.path, c.at, c.suffix))
		if err != nil || len(disk) == 0 || !bytes.Equal(c.early, disk) || !bytes.Equal(c.late, disk) {
			t.Errorf("%s: %x early, %x late, %x on disk, %v", c.what, c.early, c.late, disk, err)
		}
	}
	if !last.HasTxnIndex || len(late.Epochs) != 1 || !late.Sealed {
		t.Errorf("%+v, epochs %v", last, late.Epochs)
	}
}

// TestReset begins at another offset with what a bundle carried, and the next start sees that.
func TestReset(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, DirOptions{NodeID: 1})
	l := openLog(t, d, "topic-0", smallSegments())
	for i := range int32(12) {
		mustAppend(t, l, producerBatch{id: 5, sequence: i, n: 1}.build(), 3)
	}
	snapshot := l.producers.encode()
	epochs := []EpochEntry{{1, 0}, {4, 900}}
	if err := l.Reset(1000, epochs, snapshot); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if l.LocalStart() != 1000 || l.End() != 1000 || l.Durable() != 1000 || !slices.Equal(l.Epochs(), epochs) {
			t.Fatalf("[%d, %d), durable %d, epochs %v", l.LocalStart(), l.End(), l.Durable(), l.Epochs())
		}
		if p := l.Producers(); len(p) != 1 || p[0].LastSequence != 11 {
			t.Fatalf("producers %+v", p)
		}
	}
	check()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path, DirOptions{NodeID: 1})
	l = openLog(t, d, "topic-0", smallSegments())
	check()
	if a := mustAppend(t, l, producerBatch{id: 5, sequence: 12, n: 1}.build(), 5); a.BaseOffset != 1000 {
		t.Fatalf("appended %+v", a)
	}
	waitDurable(t, l)
}

func TestFollower(t *testing.T) {
	leaderDir, followerDir := openDir(t, t.TempDir(), DirOptions{NodeID: 1}), openDir(t, t.TempDir(), DirOptions{NodeID: 2})
	leader, follower := openLog(t, leaderDir, "topic-0", smallSegments()), openLog(t, followerDir, "topic-0", smallSegments())
	for i := range int32(30) {
		if i%10 == 0 {
			if err := leader.BecomeLeader(i); err != nil {
				t.Fatal(err)
			}
		}
		mustAppend(t, leader, producerBatch{id: 5, sequence: i * 3, n: 3}.build(), i/10*10)
	}
	all := contents(t, leader, 0, leader.End())
	damaged := slices.Clone(all)
	damaged[len(damaged)-1] ^= 1
	if err := follower.AppendReplicated(damaged); !errors.Is(err, kerr.CorruptMessage) || follower.End() != 87 {
		t.Fatalf("a damaged last batch: %v, the follower ends at %d", err, follower.End())
	}
	if err := follower.AppendReplicated(all); err == nil || follower.End() != 87 {
		t.Fatalf("batches below the log end: %v, the follower ends at %d", err, follower.End())
	}
	if err := follower.AppendReplicated(contents(t, leader, 87, 90)); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, follower, 0, 90); !bytes.Equal(got, all) {
		t.Fatal("the follower's bytes differ")
	}
	if !slices.Equal(leader.Epochs(), follower.Epochs()) || !slices.Equal(leader.Producers(), follower.Producers()) {
		t.Fatalf("leader %v %v, follower %v %v", leader.Epochs(), leader.Producers(), follower.Epochs(), follower.Producers())
	}
	leaderSegments, followerSegments := leader.Segments(), follower.Segments()
	for i := range leaderSegments {
		leaderSegments[i].Modified, followerSegments[i].Modified = time.Time{}, time.Time{}
	}
	if !slices.Equal(leaderSegments, followerSegments) {
		t.Fatalf("leader %+v\nfollower %+v", leaderSegments, followerSegments)
	}
	if err := follower.TruncateTo(64); err != nil { // within [63, 66)
		t.Fatal(err)
	}
	if follower.End() != 63 || follower.Producers()[0].LastSequence != 62 {
		t.Fatalf("truncated to %d, producers %+v", follower.End(), follower.Producers())
	}
	if epoch, end := follower.EpochEnd(20); epoch != 20 || end != 63 {
		t.Fatalf("epoch 20 ends at (%d, %d)", epoch, end)
	}
}

func TestDirIdentity(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, DirOptions{ClusterID: "one", NodeID: 1})
	id := d.ID()
	if _, err := OpenDir(path, DirOptions{ClusterID: "one", NodeID: 1}); err == nil {
		t.Fatal("a directory in use was opened again")
	}
	l := openLog(t, d, "topic-0", DefaultConfig())
	mustAppend(t, l, plain(1, 1), 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(path, DirOptions{ClusterID: "two", NodeID: 1}); err == nil {
		t.Fatal("the directory of another cluster was opened")
	}
	if _, err := OpenDir(path, DirOptions{ClusterID: "one", NodeID: 2}); err == nil {
		t.Fatal("the directory of another node was opened")
	}
	d = openDir(t, path, DirOptions{ClusterID: "one", NodeID: 1})
	if d.ID() != id || d.Len() != 1 || !d.Has("topic-0") {
		t.Fatalf("id %v, not %v; %d logs", d.ID(), id, d.Len())
	}
	other, err := d.OpenLog("topic-0", uuid.New(), DefaultConfig(), nil) // the topic was deleted and made again meanwhile
	if err != nil || other.End() != 0 {
		t.Fatalf("a log of the old topic with end %d, %v", other.End(), err)
	}
	stray, err := filepath.Glob(filepath.Join(path, "*-stray"))
	if err != nil || len(stray) != 1 {
		t.Fatalf("stray directories %v, %v", stray, err)
	}
	if err := d.Remove(other); err != nil || d.Len() != 0 {
		t.Fatalf("remove: %v, %d logs", err, d.Len())
	}
	if _, err := other.Append(plain(1, 1), 1, time.Now()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("append to a removed log: %v", err)
	}
	deleted, err := filepath.Glob(filepath.Join(path, "*-delete"))
	if err != nil || len(deleted) != 1 {
		t.Fatalf("deleted directories %v, %v", deleted, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openDir(t, path, DirOptions{ClusterID: "one", NodeID: 1})
	if deleted, _ := filepath.Glob(filepath.Join(path, "*-delete")); len(deleted) != 0 {
		t.Fatalf("the next start leaves %v", deleted)
	}
}

// TestReadersDoNotDisturbTheWriter appends, rolls and deletes while readers read; run it with -race.
func TestReadersDoNotDisturbTheWriter(t *testing.T) {
	d := openDir(t, t.TempDir(), DirOptions{NodeID: 1, TailBytes: 64 << 10})
	cfg := smallSegments()
	cfg.SegmentBytes = 20000
	l := openLog(t, d, "topic-0", cfg)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			offset := int64(0)
			for !stop.Load() || offset < l.Durable() {
				s, err := l.Read(offset, l.Durable(), 3000*(reader+1), true)
				if errors.Is(err, kerr.OffsetOutOfRange) {
					offset = l.LocalStart()
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				offset = checkSlice(t, s, offset)
				s.Release()
				if reader == 0 {
					if _, _, err := l.OffsetForTimestamp(1000, l.Durable()); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for i := range 2000 {
		mustAppend(t, l, plain(1+i%7, int64(i)), 1)
		if i%300 == 299 {
			if _, _, err := l.DeleteBefore(l.End() - 2000); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitDurable(t, l)
	stop.Store(true)
	wg.Wait()
	if used := d.tails.used(); used > 64<<10+256<<10 {
		t.Errorf("the tails hold %d bytes", used)
	}
}

// checkSlice checks the CRC of every whole batch and that offsets follow each other, and returns the next offset.
func checkSlice(t *testing.T, s Slice, offset int64) int64 {
	for b := sliceBytes(t, s); len(b) > 0; {
		batch, rest, err := record.Split(b)
		if err != nil {
			break
		}
		if !batch.CheckCRC() || batch.BaseOffset() > offset {
			t.Errorf("batch at %d instead of %d, CRC %v", batch.BaseOffset(), offset, batch.CheckCRC())
			break
		}
		offset, b = batch.LastOffset()+1, rest
	}
	return offset
}
