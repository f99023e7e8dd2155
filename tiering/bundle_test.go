package tiering

import (
	"bytes"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/metadata"
)

func sampleBundle(txns bool) *Bundle {
	b := &Bundle{ClusterID: uuid.New(), Topic: "events", Index: []byte("index"), TimeIndex: []byte("time index"), Producers: []byte{},
		LeaderEpochs: []commitlog.EpochEntry{{Epoch: 0, StartOffset: 0}, {Epoch: 7, StartOffset: 90}},
		Chunks:       []Chunk{{0, 4 << 20, 100, 1700000000000, 1}, {4 << 20, 500, 900, -1, 2}},
		Segment: metadata.RemoteSegment{ID: uuid.New(), TopicPartition: metadata.TopicPartition{TopicID: uuid.New(), Partition: 3}, BaseOffset: 100,
			EndOffset: 1000, LeaderEpoch: 7, MaxTimestamp: 1700000000000, LogBytes: 4<<20 + 500, LogCRC32C: 99}}
	if txns {
		b.TxnIndex = []byte("aborted")
	}
	return b
}

// TestBundle: what was encoded comes back.
func TestBundle(t *testing.T) {
	for _, txns := range []bool{false, true} {
		want := sampleBundle(txns)
		got, err := Decode(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

// TestBundleDamage: no flipped byte and no missing end goes unnoticed.
func TestBundleDamage(t *testing.T) {
	data := sampleBundle(true).Encode()
	for i := range data {
		broken := bytes.Clone(data)
		broken[i] ^= 0x10
		if _, err := Decode(broken); err == nil {
			t.Errorf("byte %d of %d flipped: accepted", i, len(data))
		}
		if _, err := Decode(data[:i]); err == nil {
			t.Errorf("cut at %d: accepted", i)
		}
	}
}

// TestBundleHead: the bound holds for the longest topic name and for any size of segment, and the head is checked like the whole.
func TestBundleHead(t *testing.T) {
	b := sampleBundle(true)
	b.Topic, b.Index = strings.Repeat("t", 249), make([]byte, 1<<20)
	data := b.Encode()
	n := HeadBytes(b.Segment.LogBytes)
	head, err := DecodeHead(data[:n])
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(head.Chunks, b.Chunks) || head.Segment != b.Segment || head.Topic != b.Topic || head.Index != nil {
		t.Errorf("got %+v", head)
	}
	end := bytes.Index(data, encodeChunks(b.Chunks)) + len(encodeChunks(b.Chunks))
	for i := range end {
		broken := bytes.Clone(data[:n])
		broken[i] ^= 1
		if _, err := DecodeHead(broken); err == nil {
			t.Errorf("byte %d of %d flipped: accepted", i, end)
		}
		if _, err := DecodeHead(data[:i]); err == nil {
			t.Errorf("cut at %d of %d: accepted", i, end)
		}
	}
	const gib = 1 << 30
	if n := HeadBytes(gib); n > 11<<10 || n < gib/chunkTarget*chunkBytes {
		t.Errorf("the head of a bundle of 1 GiB has up to %d bytes", n)
	}
}

// TestSummarize cuts a segment of many batches into chunks at batch boundaries, with the right checksums.
func TestSummarize(t *testing.T) {
	var log []byte
	for offset := int64(0); len(log) < 9<<20; offset += 10 {
		log = append(log, testBatch(t, offset, 10, 1000+offset, 64<<10)...)
	}
	s, err := Summarize(bytes.NewReader(log), int64(len(log)))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Chunks) != 3 || s.CRC32C != crc32.Checksum(log, castagnoli) {
		t.Fatalf("%d chunks, checksum %08x", len(s.Chunks), s.CRC32C)
	}
	at := int64(0)
	for i, c := range s.Chunks {
		body := log[c.Position : c.Position+int64(c.Length)]
		if c.Position != at || c.CRC32C != crc32.Checksum(body, castagnoli) || c.FirstOffset%10 != 0 || i < 2 && c.Length < chunkTarget {
			t.Errorf("chunk %d: %+v", i, c)
		}
		if got := chunkOf(s.Chunks, c.FirstOffset+5); got != i {
			t.Errorf("offset %d is in chunk %d, not %d", c.FirstOffset+5, got, i)
		}
		if got := chunkSince(s.Chunks, 0, c.MaxTimestamp); got != i {
			t.Errorf("timestamp %d is in chunk %d, not %d", c.MaxTimestamp, got, i)
		}
		at += int64(c.Length)
	}
	if chunkSince(s.Chunks, 0, s.MaxTimestamp+1) != len(s.Chunks) || s.MaxTimestamp != s.Chunks[2].MaxTimestamp {
		t.Error("a timestamp after the last was found")
	}
	if _, err := Summarize(bytes.NewReader(log), int64(len(log))-1); err == nil {
		t.Error("a cut batch was accepted")
	}
	log[s.Chunks[1].Position+200] ^= 1
	if _, err := Summarize(bytes.NewReader(log), int64(len(log))); !errors.Is(err, errDamaged) {
		t.Errorf("a flipped bit: %v", err)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add(sampleBundle(true).Encode())
	f.Add(sampleBundle(false).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode(data)
		if err != nil {
			_, _ = DecodeHead(data) // may read less, must not panic
			return
		}
		if head, err := DecodeHead(data); err != nil || head.Segment != b.Segment || !reflect.DeepEqual(head.Chunks, b.Chunks) {
			t.Errorf("head: %+v, %v", head, err)
		}
		again, err := Decode(b.Encode())
		if err != nil || !reflect.DeepEqual(again.Segment, b.Segment) {
			t.Errorf("%v\n%+v\n%+v", err, again, b)
		}
	})
}
