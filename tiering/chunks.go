package tiering

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"

	"varve/commitlog/record"
)

// chunkTarget is the size (bytes) at which a chunk ends, at the next batch: one GET, one checksum, one cache entry. Smaller wastes requests,
// larger wastes bytes on a reader that wants one batch.
const chunkTarget = 4 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Chunk is a run of whole batches of a segment: [Position, Position+Length) of its .log object.
type Chunk struct {
	Position     int64
	Length       int32
	FirstOffset  int64 // of its first batch
	MaxTimestamp int64 // ms, -1 without records
	CRC32C       uint32
}

// A Summary is what one pass over a segment's bytes tells.
type Summary struct {
	Chunks       []Chunk
	CRC32C       uint32 // of all bytes
	MaxTimestamp int64  // ms, -1 without records
}

var errDamaged = errors.New("CRC does not match")

// Summarize reads the first size bytes of a sealed segment once and cuts them into chunks. The bytes must be whole, sound batches: damage must not become
// what the bucket has.
func Summarize(log io.ReaderAt, size int64) (Summary, error) {
	s := Summary{MaxTimestamp: -1}
	in := bufio.NewReaderSize(io.NewSectionReader(log, 0, size), 256<<10)
	header := make([]byte, record.HeaderSize)
	whole, part, own := crc32.New(castagnoli), crc32.New(castagnoli), crc32.New(castagnoli)
	all := io.MultiWriter(whole, part, own)
	for at := int64(0); at < size; {
		if _, err := io.ReadFull(in, header); err != nil {
			return Summary{}, fmt.Errorf("batch header at %d of %d: %w", at, size, err)
		}
		batch := record.Batch(header)
		length := int64(binary.BigEndian.Uint32(header[8:])) + record.LogOverhead
		if length < record.HeaderSize || at+length > size {
			return Summary{}, fmt.Errorf("batch at %d of %d has %d bytes", at, size, length)
		}
		if n := len(s.Chunks); n == 0 || s.Chunks[n-1].Length >= chunkTarget {
			s.endChunk(part)
			s.Chunks = append(s.Chunks, Chunk{Position: at, FirstOffset: batch.BaseOffset(), MaxTimestamp: -1})
		}
		c := &s.Chunks[len(s.Chunks)-1]
		whole.Write(header) // hashes do not fail
		part.Write(header)
		own.Reset()
		own.Write(header[record.ChecksummedFrom:])
		if _, err := io.CopyN(all, in, length-record.HeaderSize); err != nil {
			return Summary{}, fmt.Errorf("batch at %d: %w", at, err)
		}
		if own.Sum32() != batch.CRC() {
			return Summary{}, fmt.Errorf("%w: batch at %d of %d", errDamaged, at, size)
		}
		if batch.Count() > 0 {
			c.MaxTimestamp = max(c.MaxTimestamp, batch.MaxTimestamp())
		}
		c.Length += int32(length)
		at += length
	}
	s.endChunk(part)
	for _, c := range s.Chunks {
		s.MaxTimestamp = max(s.MaxTimestamp, c.MaxTimestamp)
	}
	s.CRC32C = whole.Sum32()
	return s, nil
}

// endChunk gives the last chunk its checksum.
func (s *Summary) endChunk(sum interface {
	Sum32() uint32
	Reset()
}) {
	if n := len(s.Chunks); n > 0 {
		s.Chunks[n-1].CRC32C = sum.Sum32()
	}
	sum.Reset()
}

// chunkOf returns the index of the chunk that holds offset; offsets before the first chunk belong to it.
func chunkOf(chunks []Chunk, offset int64) int {
	return max(0, sort.Search(len(chunks), func(i int) bool { return chunks[i].FirstOffset > offset })-1)
}

// chunkSince returns the index of the first chunk from i on that has a timestamp of at least ts, or len(chunks).
func chunkSince(chunks []Chunk, i int, ts int64) int {
	n := slices.IndexFunc(chunks[i:], func(c Chunk) bool { return c.MaxTimestamp >= ts })
	if n < 0 {
		return len(chunks)
	}
	return i + n
}
