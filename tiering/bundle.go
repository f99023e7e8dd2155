package tiering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/metadata"
)

// A Bundle is the content of an .idx object: everything but the segment's bytes that it takes to read the segment from the bucket, to rebuild its
// row, and to go on from its end as leader or follower. docs/format/segment-object.md is the format.
type Bundle struct {
	ClusterID    uuid.UUID
	Topic        string
	Segment      metadata.RemoteSegment // of the row: ID, TopicPartition, offsets, LeaderEpoch, MaxTimestamp, LogBytes, LogCRC32C
	Chunks       []Chunk
	Index        []byte // the offset index, byte for byte as on local disk
	TimeIndex    []byte
	TxnIndex     []byte // nil without aborted transactions
	Producers    []byte // the producer snapshot at Segment.EndOffset
	LeaderEpochs []commitlog.EpochEntry
}

// A BundleError says which part of a bundle is broken.
type BundleError struct {
	Part string
	Err  error
}

func (e *BundleError) Error() string { return "segment bundle: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BundleError) Unwrap() error { return e.Err }

var (
	errShort    = errors.New("too short")
	errChecksum = errors.New("checksum mismatch")
)

const (
	bundleMagic   = 0x56415256 // "VARV"
	bundleVersion = 1
	chunkBytes    = 32 // of one chunk table entry
	epochBytes    = 12
	sectionBytes  = 20 // of one section table entry
	prefixBytes   = 16 // magic, version, header length, header CRC
	fixedHeader   = 16 + 16 + 16 + 4 + 8 + 8 + 4 + 8 + 8 + 4 + 2
	maxSections   = 64
	maxTopicBytes = 1 << 10
)

// The sections of a bundle. A reader ignores kinds that it does not know. The chunk table is first, so that one ranged GET of the head brings it.
const (
	sectionChunks uint32 = iota + 1
	sectionIndex
	sectionTimeIndex
	sectionTxnIndex
	sectionProducers
	sectionEpochs
)

type section struct {
	kind   uint32
	offset int64 // from the start of the object
	length uint32
	crc    uint32
}

// Encode returns the bundle's bytes.
func (b *Bundle) Encode() []byte {
	bodies := []struct {
		kind uint32
		data []byte
	}{{sectionChunks, encodeChunks(b.Chunks)}, {sectionIndex, b.Index}, {sectionTimeIndex, b.TimeIndex}, {sectionProducers, b.Producers},
		{sectionEpochs, encodeEpochs(b.LeaderEpochs)}, {sectionTxnIndex, b.TxnIndex}}
	if b.TxnIndex == nil {
		bodies = bodies[:len(bodies)-1]
	}
	header := b.encodeHeader(len(bodies))
	at := int64(prefixBytes + len(header) + len(bodies)*sectionBytes + 4)
	var table []byte
	for _, s := range bodies {
		table = binary.BigEndian.AppendUint32(table, s.kind)
		table = binary.BigEndian.AppendUint64(table, uint64(at))
		table = binary.BigEndian.AppendUint32(table, uint32(len(s.data)))
		table = binary.BigEndian.AppendUint32(table, crc32.Checksum(s.data, castagnoli))
		at += int64(len(s.data))
	}
	out := make([]byte, 0, at)
	out = binary.BigEndian.AppendUint32(out, bundleMagic)
	out = binary.BigEndian.AppendUint32(out, bundleVersion)
	out = binary.BigEndian.AppendUint32(out, uint32(len(header)))
	out = binary.BigEndian.AppendUint32(out, crc32.Update(crc32.Checksum(out[:12], castagnoli), castagnoli, header))
	out = append(append(out, header...), table...)
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(table, castagnoli))
	for _, s := range bodies {
		out = append(out, s.data...)
	}
	return out
}

func (b *Bundle) encodeHeader(sections int) []byte {
	s := &b.Segment
	out := append([]byte(nil), b.ClusterID[:]...)
	out = append(out, s.TopicPartition.TopicID[:]...)
	out = append(out, s.ID[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(s.TopicPartition.Partition))
	out = binary.BigEndian.AppendUint64(out, uint64(s.BaseOffset))
	out = binary.BigEndian.AppendUint64(out, uint64(s.EndOffset))
	out = binary.BigEndian.AppendUint32(out, uint32(s.LeaderEpoch))
	out = binary.BigEndian.AppendUint64(out, uint64(s.MaxTimestamp))
	out = binary.BigEndian.AppendUint64(out, uint64(s.LogBytes))
	out = binary.BigEndian.AppendUint32(out, s.LogCRC32C)
	out = binary.BigEndian.AppendUint16(out, uint16(sections))
	return append(out, b.Topic...)
}

func encodeChunks(chunks []Chunk) []byte {
	out := make([]byte, 0, len(chunks)*chunkBytes)
	for _, c := range chunks {
		out = binary.BigEndian.AppendUint64(out, uint64(c.Position))
		out = binary.BigEndian.AppendUint32(out, uint32(c.Length))
		out = binary.BigEndian.AppendUint64(out, uint64(c.FirstOffset))
		out = binary.BigEndian.AppendUint64(out, uint64(c.MaxTimestamp))
		out = binary.BigEndian.AppendUint32(out, c.CRC32C)
	}
	return out
}

func encodeEpochs(epochs []commitlog.EpochEntry) []byte {
	out := make([]byte, 0, len(epochs)*epochBytes)
	for _, e := range epochs {
		out = binary.BigEndian.AppendUint32(out, uint32(e.Epoch))
		out = binary.BigEndian.AppendUint64(out, uint64(e.StartOffset))
	}
	return out
}

// Decode reads a whole bundle. It trusts nothing: every length is checked against the bytes that are there, every part against its checksum.
func Decode(data []byte) (*Bundle, error) {
	b, sections, err := decodeHead(data)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		body, err := sectionOf(data, s)
		if err != nil {
			return nil, err
		}
		switch s.kind {
		case sectionIndex:
			b.Index = body
		case sectionTimeIndex:
			b.TimeIndex = body
		case sectionTxnIndex:
			b.TxnIndex = body
		case sectionProducers:
			b.Producers = body
		case sectionEpochs:
			b.LeaderEpochs, err = decodeEpochs(body)
		case sectionChunks:
			b.Chunks, err = decodeChunks(body, b.Segment.LogBytes)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.Chunks == nil && b.Segment.LogBytes > 0 {
		return nil, &BundleError{"chunk table", errShort}
	}
	return b, nil
}

// HeadBytes bounds the head of a bundle, from its first byte to the end of its chunk table, for a segment of logBytes: one ranged GET of so much
// (or of the whole object, if that is smaller) brings all that DecodeHead needs. It is 10 KiB for a segment of 1 GiB: every chunk but the last has
// at least 4 MiB.
func HeadBytes(logBytes int64) int64 {
	chunks := max(0, logBytes)/chunkTarget + 1
	return prefixBytes + fixedHeader + maxTopicBytes + maxSections*sectionBytes + 4 + chunks*chunkBytes
}

// DecodeHead reads the header and the chunk table from the beginning of a bundle, HeadBytes or more of it, and trusts it as little as Decode does.
// The other parts stay nil.
func DecodeHead(data []byte) (*Bundle, error) {
	b, sections, err := decodeHead(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(sections, func(s section) bool { return s.kind == sectionChunks })
	if i < 0 {
		return nil, &BundleError{"chunk table", errShort}
	}
	body, err := sectionOf(data, sections[i])
	if err != nil {
		return nil, err
	}
	if b.Chunks, err = decodeChunks(body, b.Segment.LogBytes); err != nil {
		return nil, err
	}
	return b, nil
}

// decodeHead reads header and section table from the beginning of a bundle.
func decodeHead(data []byte) (*Bundle, []section, error) {
	if len(data) < prefixBytes {
		return nil, nil, &BundleError{"prefix", errShort}
	}
	if m, v := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:]); m != bundleMagic || v != bundleVersion {
		return nil, nil, &BundleError{"prefix", fmt.Errorf("magic %08x version %d, want %08x version %d", m, v, bundleMagic, bundleVersion)}
	}
	length := int64(binary.BigEndian.Uint32(data[8:]))
	if length < fixedHeader || length > fixedHeader+maxTopicBytes || int64(len(data)) < prefixBytes+length {
		return nil, nil, &BundleError{"header", errShort}
	}
	header := data[prefixBytes : prefixBytes+length]
	if crc32.Update(crc32.Checksum(data[:12], castagnoli), castagnoli, header) != binary.BigEndian.Uint32(data[12:]) {
		return nil, nil, &BundleError{"header", errChecksum}
	}
	b, count := decodeHeader(header)
	if s := &b.Segment; s.BaseOffset < 0 || s.EndOffset < s.BaseOffset || s.LogBytes < 0 {
		return nil, nil, &BundleError{"header", fmt.Errorf("offsets [%d, %d) in %d bytes", s.BaseOffset, s.EndOffset, s.LogBytes)}
	}
	if count > maxSections {
		return nil, nil, &BundleError{"section table", fmt.Errorf("%d sections", count)}
	}
	sections, err := decodeSections(data[prefixBytes+length:], count)
	return b, sections, err
}

func decodeHeader(h []byte) (b *Bundle, sections int) {
	b = &Bundle{Topic: string(h[fixedHeader:])}
	s := &b.Segment
	copy(b.ClusterID[:], h)
	copy(s.TopicPartition.TopicID[:], h[16:])
	copy(s.ID[:], h[32:])
	s.TopicPartition.Partition = int32(binary.BigEndian.Uint32(h[48:]))
	s.BaseOffset = int64(binary.BigEndian.Uint64(h[52:]))
	s.EndOffset = int64(binary.BigEndian.Uint64(h[60:]))
	s.LeaderEpoch = int32(binary.BigEndian.Uint32(h[68:]))
	s.MaxTimestamp = int64(binary.BigEndian.Uint64(h[72:]))
	s.LogBytes = int64(binary.BigEndian.Uint64(h[80:]))
	s.LogCRC32C = binary.BigEndian.Uint32(h[88:])
	return b, int(binary.BigEndian.Uint16(h[92:]))
}

func decodeSections(data []byte, count int) ([]section, error) {
	size := count * sectionBytes
	if len(data) < size+4 {
		return nil, &BundleError{"section table", errShort}
	}
	if crc32.Checksum(data[:size], castagnoli) != binary.BigEndian.Uint32(data[size:]) {
		return nil, &BundleError{"section table", errChecksum}
	}
	sections := make([]section, count)
	for i := range sections {
		e := data[i*sectionBytes:]
		sections[i] = section{binary.BigEndian.Uint32(e), int64(binary.BigEndian.Uint64(e[4:])), binary.BigEndian.Uint32(e[12:]), binary.BigEndian.Uint32(e[16:])}
		if slices.ContainsFunc(sections[:i], func(s section) bool { return s.kind == sections[i].kind }) {
			return nil, &BundleError{"section table", fmt.Errorf("section %d twice", sections[i].kind)}
		}
	}
	return sections, nil
}

func sectionOf(data []byte, s section) ([]byte, error) {
	part := fmt.Sprintf("section %d", s.kind)
	if s.offset < 0 || s.offset > int64(len(data)) || int64(s.length) > int64(len(data))-s.offset {
		return nil, &BundleError{part, errShort}
	}
	body := data[s.offset : s.offset+int64(s.length)]
	if crc32.Checksum(body, castagnoli) != s.crc {
		return nil, &BundleError{part, errChecksum}
	}
	return body, nil
}

// decodeChunks reads the chunk table and checks that it covers the segment from its first byte to its last.
func decodeChunks(body []byte, logBytes int64) ([]Chunk, error) {
	if len(body)%chunkBytes != 0 {
		return nil, &BundleError{"chunk table", errShort}
	}
	chunks := make([]Chunk, len(body)/chunkBytes)
	end := int64(0)
	for i := range chunks {
		e := body[i*chunkBytes:]
		c := Chunk{int64(binary.BigEndian.Uint64(e)), int32(binary.BigEndian.Uint32(e[8:])), int64(binary.BigEndian.Uint64(e[12:])),
			int64(binary.BigEndian.Uint64(e[20:])), binary.BigEndian.Uint32(e[28:])}
		if c.Position != end || c.Length <= 0 || i > 0 && c.FirstOffset <= chunks[i-1].FirstOffset {
			return nil, &BundleError{"chunk table", fmt.Errorf("chunk %d at %d with %d bytes from offset %d on does not follow the one that ends at %d", i, c.Position, c.Length, c.FirstOffset, end)}
		}
		end += int64(c.Length)
		chunks[i] = c
	}
	if end != logBytes {
		return nil, &BundleError{"chunk table", fmt.Errorf("ends at %d of %d bytes", end, logBytes)}
	}
	return chunks, nil
}

func decodeEpochs(body []byte) ([]commitlog.EpochEntry, error) {
	if len(body)%epochBytes != 0 {
		return nil, &BundleError{"leader epochs", errShort}
	}
	epochs := make([]commitlog.EpochEntry, len(body)/epochBytes)
	for i := range epochs {
		e := body[i*epochBytes:]
		epochs[i] = commitlog.EpochEntry{Epoch: int32(binary.BigEndian.Uint32(e)), StartOffset: int64(binary.BigEndian.Uint64(e[4:]))}
	}
	return epochs, nil
}
