package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
)

// sentBody sends resp over a socket as a fetch body and returns what arrived.
func sentBody(t *testing.T, b *fetchBody) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err == nil {
			got, err = io.ReadAll(c)
		}
		if err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newConnWriter(c)
	if err := errors.Join(b.write(w), w.flush(), c.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return got
}

// randomFetch makes a response with topics of several partitions, some of their fields unset, and their records: in memory small and large, and in
// the middle of a file.
func randomFetch(t *testing.T, rng *rand.Rand) (*kmsg.FetchResponse, []*commitlog.Slice) {
	t.Helper()
	content := make([]byte, 300<<10)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.SessionID, resp.ErrorCode, resp.ThrottleMillis = 7, 3, 9
	var records []*commitlog.Slice
	for range 1 + rng.IntN(3) {
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = "topic-of-the-test", [16]byte{1, 2, 3}
		for i := range 1 + rng.IntN(4) {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition, p.ErrorCode = int32(i), int16(rng.IntN(3))
			p.HighWatermark, p.LastStableOffset, p.LogStartOffset = rng.Int64(), rng.Int64(), rng.Int64()
			if rng.IntN(2) == 0 {
				p.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, rng.IntN(3))
				for j := range p.AbortedTransactions {
					p.AbortedTransactions[j].ProducerID, p.AbortedTransactions[j].FirstOffset = rng.Int64(), rng.Int64()
				}
			}
			if rng.IntN(2) == 0 {
				p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = 5, 77
			}
			if rng.IntN(2) == 0 {
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = 1, 4
			}
			s := &commitlog.Slice{}
			p.RecordBatches = []byte{}
			for range rng.IntN(4) {
				from := rng.IntN(len(content))
				piece := content[from:min(len(content), from+1+rng.IntN(100<<10))]
				if rng.IntN(2) == 0 {
					s.Pieces = append(s.Pieces, commitlog.Piece{Mem: piece, Len: len(piece)})
				} else {
					s.Pieces = append(s.Pieces, commitlog.Piece{File: f, Pos: int64(from), Len: len(piece)})
				}
				s.Bytes += len(piece)
				p.RecordBatches = append(p.RecordBatches, piece...)
			}
			topic.Partitions = append(topic.Partitions, p)
			records = append(records, s)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, records
}

// TestFetchBody: in every version, the bytes on the socket are those that kmsg makes of the same response.
func TestFetchBody(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for version := int16(4); version <= 18; version++ {
		for range 8 {
			resp, records := randomFetch(t, rng)
			resp.Version = version
			want := resp.AppendTo(nil)
			b := newFetchBody(resp, version, records, nil)
			if b.size() != len(want) {
				t.Fatalf("version %d: size %d, want %d", version, b.size(), len(want))
			}
			if got := sentBody(t, b); !bytes.Equal(got, want) {
				t.Fatalf("version %d: other bytes than kmsg's", version)
			}
			b.release()
		}
	}
}

// TestSendFileShort: a file that is shorter than promised ends the connection rather than sending less.
func TestSendFileShort(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "short"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := binary.Write(f, binary.BigEndian, int64(1)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, send := range map[string]func(net.Conn, *os.File, int64, int) error{"sendfile": sendFile, "copy": copyFile} {
		if err := send(c, f, 4, 8); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSendFileManyReaders: connections that send from one file at a time do not disturb each other, also when their peers are slow.
func TestSendFileManyReaders(t *testing.T) {
	const readers, size = 8, 4 << 20
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, content[1:]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := errors.Join(sendFile(c, f, 1, size-1), c.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
