package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func sample(codec Codec, n int) Batch {
	b := NewBuilder()
	b.Codec, b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = codec, 12, 3, math.MaxInt32-1, true
	for i := range n {
		b.Add(1600000000000-int64(i%3), fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte("varve "), i),
			Header{Key: "a"}, Header{Key: "é", Value: []byte{}}, Header{Key: "a", Value: []byte("v")})
	}
	b.Add(1600000000009, nil, nil)
	return b.Build()
}

// seen is what a walk shows, copied.
func seen(t *testing.T, b Batch) (out []string) {
	t.Helper()
	err := b.Walk(0, func(r *Record) error {
		headers, err := ParseHeaders(r)
		out = append(out, fmt.Sprintf("%d %d %q %v %q %v %q", r.Offset(b), r.Timestamp(b), r.Key, r.Key == nil, r.Value, r.Value == nil, headers))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBuilderIsReadByKmsg(t *testing.T) {
	b := sample(None, 5)
	var k kmsg.RecordBatch
	if err := k.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if uint32(k.CRC) != b.CRC() || k.NumRecords != b.Count() || k.ProducerID != 12 || k.ProducerEpoch != 3 || k.MaxTimestamp != b.MaxTimestamp() ||
		k.LastOffsetDelta != b.LastOffsetDelta() || k.FirstSequence != b.BaseSequence() || int64(k.Length)+LogOverhead != b.Size() {
		t.Fatalf("kmsg reads %+v", k)
	}
	if b.LastSequence() != 3 || !b.Transactional() || b.Control() || b.LogAppendTime() || b.MaxTimestamp() != 1600000000009 || b.BaseTimestamp() != 1600000000000 {
		t.Fatalf("last sequence %d, times %d, %d", b.LastSequence(), b.BaseTimestamp(), b.MaxTimestamp())
	}
}

func TestRewriteKeepsRecords(t *testing.T) {
	for from := None; from <= Zstd; from++ {
		for to := None; to <= Zstd; to++ {
			a := sample(from, 40)
			a.SetBaseOffset(77)
			b, err := Rewrite(a, to)
			if err != nil {
				t.Fatal(err)
			}
			if b.Codec() != to || !b.CheckCRC() || b.BaseSequence() != a.BaseSequence() || !b.Transactional() || b.MaxTimestamp() != a.MaxTimestamp() {
				t.Fatalf("%v to %v: header changed", from, to)
			}
			if got, want := seen(t, b), seen(t, a); !slices.Equal(got, want) {
				t.Fatalf("%v to %v:\n got %q\nwant %q", from, to, got, want)
			}
		}
	}
}

func TestStampingKeepsTheCRC(t *testing.T) {
	b := sample(Snappy, 3)
	crc := b.CRC()
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(9)
	b.SetMaxTimestamp(b.MaxTimestamp(), false)
	if b.CRC() != crc || !b.CheckCRC() || b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 9 || b.LastOffset() != 1<<40+3 {
		t.Fatal("stamping outside of the CRC changed it")
	}
	b.SetMaxTimestamp(5, true)
	if b.CRC() == crc || !b.CheckCRC() || !b.LogAppendTime() || b.MaxTimestamp() != 5 || b.Codec() != Snappy {
		t.Fatal("the CRC does not cover the new timestamp")
	}
	b[len(b)-1] ^= 1
	if b.CheckCRC() {
		t.Fatal("a flipped bit goes unnoticed")
	}
}

func TestSplit(t *testing.T) {
	a, b := sample(None, 1), sample(LZ4, 2)
	first, rest, err := Split(slices.Concat(a, b))
	if err != nil || !bytes.Equal(first, a) || !bytes.Equal(rest, b) {
		t.Fatalf("%d and %d bytes, %v", len(first), len(rest), err)
	}
	short := slices.Clone(a)
	short[posLength+3] = 10 // no room for a header
	short[posLength+2] = 0
	for _, bad := range [][]byte{nil, a[:60], a[:len(a)-1], short} {
		if _, _, err := Split(bad); !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// raw makes a batch of count records whose compressed bytes are given.
func raw(codec Codec, count int32, data []byte) Batch {
	b := append(slices.Clone(NewBuilder().Build()), data...)
	b[posAttributes+1] = byte(codec)
	b[posLength+3], b[posLength+2], b[posLength+1] = byte(len(b)-12), byte((len(b)-12)>>8), byte((len(b)-12)>>16)
	b[posCount+3], b[posCount+2] = byte(count), byte(count>>8)
	Batch(b).seal()
	return b
}

// TestBombs: what expands beyond the bound is refused, and a claim alone costs nothing.
func TestBombs(t *testing.T) {
	const bound = 1 << 20
	zeros := make([]byte, 64<<20)
	zeros[0], zeros[1], zeros[2], zeros[3] = 0x80, 0x80, 0x80, 0x3e // a record of 64 MiB
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	l, err := compress(LZ4, nil, zeros)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		b    Batch
	}{
		{"gzip", raw(Gzip, 1, gz.Bytes())}, {"zstd", raw(Zstd, 1, z.EncodeAll(zeros, nil))},
		{"lz4", raw(LZ4, 1, l)}, {"snappy", raw(Snappy, 1, snappy.Encode(nil, zeros))},
		{"xerial", raw(Snappy, 1, appendXerial(nil, zeros))},
		{"snappy that claims 4 GiB", raw(Snappy, 1, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})},
		{"zstd with a window of 128 MiB", raw(Zstd, 1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00})},
	} {
		err := c.b.Walk(bound, func(*Record) error { return nil })
		if !errors.Is(err, kerr.MessageTooLarge) && !errors.Is(err, kerr.CorruptMessage) && !errors.Is(err, kerr.InvalidRecord) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := raw(Codec(5), 1, []byte{1}).Walk(0, nil); !errors.Is(err, kerr.UnsupportedCompressionType) {
		t.Errorf("codec 5: %v", err)
	}
}

func TestWalkFindsWrongCounts(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, delta := range []int32{-1, 1} {
			b := sample(codec, 3)
			b[posCount+3] = byte(b.Count() + delta)
			if err := b.Walk(0, func(*Record) error { return nil }); !errors.Is(err, kerr.InvalidRecord) {
				t.Errorf("%v, count off by %d: %v", codec, delta, err)
			}
		}
	}
}

func TestBareSnappyBlock(t *testing.T) {
	plain := sample(None, 4)
	if got, want := seen(t, withTimes(raw(Snappy, 5, snappy.Encode(nil, plain.Records())), plain)), seen(t, plain); !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
}

// withTimes gives b the timestamps of from.
func withTimes(b, from Batch) Batch {
	copy(b[posLastDelta:posProducerID], from[posLastDelta:posProducerID])
	b.seal()
	return b
}

func TestMarker(t *testing.T) {
	for _, want := range []Marker{{true, 7}, {false, 0}} {
		b := NewMarker(5, 2, want, 99)
		got, ok, err := ParseMarker(b)
		if err != nil || !ok || got != want || !b.Control() || !b.Transactional() || b.ProducerID() != 5 || b.MaxTimestamp() != 99 || !b.CheckCRC() {
			t.Fatalf("%+v became %+v, %v, %v", want, got, ok, err)
		}
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, c := range [][3]int32{{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1}} {
		if got := AddSequence(c[0], c[1]); got != c[2] {
			t.Errorf("%d + %d = %d", c[0], c[1], got)
		}
		if got := SubSequence(c[2], c[1]); got != c[0] {
			t.Errorf("%d - %d = %d", c[2], c[1], got)
		}
	}
}
