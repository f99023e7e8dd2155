package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DefaultMaxBytes bounds the decompressed size of a batch when the caller gives no bound.
const DefaultMaxBytes = 1 << 30

// Record is one record as a walk sees it. Key, Value and Headers alias a buffer that is valid only during the call.
type Record struct {
	OffsetDelta    int32
	TimestampDelta int64  // ms after the batch's base timestamp
	Attributes     int8   // unused by Kafka, always 0 in honest batches
	Key, Value     []byte // nil: null
	Headers        []byte // undecoded; see ParseHeaders
	HeaderCount    int32
}

// Offset returns r's offset in b.
func (r *Record) Offset(b Batch) int64 { return b.BaseOffset() + int64(r.OffsetDelta) }

// Timestamp returns r's timestamp in ms as a consumer of b sees it.
func (r *Record) Timestamp(b Batch) int64 {
	if b.LogAppendTime() {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + r.TimestampDelta
}

// Walk calls visit for each record, decompressing as a stream through pooled decoders. It allocates nothing per
// record. It stops with visit's error, or with
//
//	MESSAGE_TOO_LARGE             the decompressed size passes maxBytes (0: 1 GiB)
//	CORRUPT_MESSAGE               the codec cannot read the bytes
//	UNSUPPORTED_COMPRESSION_TYPE  there is no such codec
//	INVALID_RECORD                the records do not parse, or their number is not Count
func (b Batch) Walk(maxBytes int64, visit func(r *Record) error) error {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	if b.Codec() == None {
		return b.walkPlain(maxBytes, visit)
	}
	return b.walkCompressed(maxBytes, visit)
}

func (b Batch) walkPlain(maxBytes int64, visit func(r *Record) error) error {
	data := b.Records()
	if int64(len(data)) > maxBytes {
		return tooLarge(maxBytes)
	}
	w := recordPool.Get().(*Record)
	defer putRecord(w)
	for i := int32(0); i < b.Count(); i++ {
		n, size := binary.Varint(data)
		if size <= 0 || n < 0 || n > int64(len(data)-size) {
			return fmt.Errorf("%w: record %d of %d does not fit", kerr.InvalidRecord, i, b.Count())
		}
		body := data[size : size+int(n)]
		if !w.parse(body) {
			return fmt.Errorf("%w: record %d of %d does not parse", kerr.InvalidRecord, i, b.Count())
		}
		if err := visit(w); err != nil {
			return err
		}
		data = data[size+int(n):]
	}
	if len(data) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last of %d records", kerr.InvalidRecord, len(data), b.Count())
	}
	return nil
}

func (b Batch) walkCompressed(maxBytes int64, visit func(r *Record) error) error {
	if b.Count() == 0 && len(b.Records()) == 0 {
		return nil // compaction left an empty batch
	}
	s, err := openStream(b.Codec(), b.Records(), maxBytes)
	if err != nil {
		return err
	}
	defer s.close()
	w := recordPool.Get().(*Record)
	defer putRecord(w)
	for i := int32(0); i < b.Count(); i++ {
		body, err := s.next()
		if err != nil {
			return fmt.Errorf("record %d of %d: %w", i, b.Count(), err)
		}
		if !w.parse(body) {
			return fmt.Errorf("%w: record %d of %d does not parse", kerr.InvalidRecord, i, b.Count())
		}
		if err := visit(w); err != nil {
			return err
		}
	}
	return s.end()
}

var recordPool = sync.Pool{New: func() any { return new(Record) }}

func putRecord(r *Record) {
	*r = Record{}
	recordPool.Put(r)
}

func tooLarge(maxBytes int64) error {
	return fmt.Errorf("%w: the records of the batch exceed %d bytes", kerr.MessageTooLarge, maxBytes)
}

// parse reads one record without its length. Headers are counted, and walked only to find that they fit.
func (r *Record) parse(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	r.Attributes = int8(b[0])
	b = b[1:]
	var ok bool
	if r.TimestampDelta, b, ok = varint(b); !ok {
		return false
	}
	delta, b, ok := varint32(b)
	if !ok {
		return false
	}
	r.OffsetDelta = delta
	if r.Key, b, ok = nullable(b); !ok {
		return false
	}
	if r.Value, b, ok = nullable(b); !ok {
		return false
	}
	if r.HeaderCount, b, ok = varint32(b); !ok || r.HeaderCount < 0 {
		return false
	}
	r.Headers = b
	return headersFit(b, r.HeaderCount)
}

func headersFit(b []byte, count int32) bool {
	for ; count > 0; count-- {
		key, rest, ok := nullable(b)
		if !ok || key == nil {
			return false
		}
		if _, b, ok = nullable(rest); !ok {
			return false
		}
	}
	return len(b) == 0
}

// varint reads a zigzag varint of up to 64 bits.
func varint(b []byte) (int64, []byte, bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), b[1:], true
	}
	v, n := binary.Varint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func varint32(b []byte) (int32, []byte, bool) {
	v, rest, ok := varint(b)
	if !ok || v != int64(int32(v)) {
		return 0, nil, false
	}
	return int32(v), rest, true
}

// nullable reads bytes with a varint length; -1 is null.
func nullable(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := varint32(b)
	if !ok || n < -1 || int(n) > len(b) {
		return nil, nil, false
	}
	if n == -1 {
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}

// Header is one record header.
type Header struct {
	Key   string
	Value []byte // nil: null
}

// ParseHeaders decodes r's headers; values alias the record's buffer.
func ParseHeaders(r *Record) ([]Header, error) {
	if int(r.HeaderCount) > len(r.Headers)/2 { // a header takes two bytes or more
		return nil, fmt.Errorf("%w: %d headers in %d bytes", kerr.InvalidRecord, r.HeaderCount, len(r.Headers))
	}
	headers := make([]Header, 0, r.HeaderCount)
	b := r.Headers
	for range r.HeaderCount {
		key, rest, ok := nullable(b)
		if !ok || key == nil {
			return nil, fmt.Errorf("%w: header key", kerr.InvalidRecord)
		}
		var value []byte
		if value, b, ok = nullable(rest); !ok {
			return nil, fmt.Errorf("%w: header value", kerr.InvalidRecord)
		}
		headers = append(headers, Header{Key: string(key), Value: value})
	}
	return headers, nil
}

// stream cuts decompressed bytes into records. Its buffer is pooled and grows with the bytes that arrive.
type stream struct {
	decoder
	buf      []byte // [start:filled) is decompressed and not yet taken
	start    int
	left     int64 // bytes that may still come out of the decoder
	maxBytes int64
	eof      bool
}

const (
	streamBuffer  = 32 << 10 // bytes of a fresh buffer
	retainedLimit = 1 << 20  // a buffer grown beyond this is not pooled
)

var streamPool = sync.Pool{New: func() any { return &stream{buf: make([]byte, 0, streamBuffer)} }}

func openStream(codec Codec, data []byte, maxBytes int64) (*stream, error) {
	d, err := openDecoder(codec, data, maxBytes)
	if err != nil {
		return nil, err
	}
	s := streamPool.Get().(*stream)
	s.decoder, s.buf, s.start, s.left, s.maxBytes, s.eof = d, s.buf[:0], 0, maxBytes, maxBytes, false
	return s, nil
}

func (s *stream) close() {
	s.release()
	s.decoder = nil
	if cap(s.buf) <= retainedLimit {
		streamPool.Put(s)
	}
}

// next returns the bytes of the next record, without its length. They are valid until the following call.
func (s *stream) next() ([]byte, error) {
	n, size := binary.Varint(s.buf[s.start:])
	for size == 0 { // more bytes needed
		if err := s.fill(); err != nil {
			return nil, err
		}
		n, size = binary.Varint(s.buf[s.start:])
	}
	if size < 0 || n < 0 || n > s.maxBytes {
		return nil, fmt.Errorf("%w: length %d", kerr.InvalidRecord, n)
	}
	for int64(len(s.buf)-s.start) < int64(size)+n {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	body := s.buf[s.start+size : s.start+size+int(n)]
	s.start += size + int(n)
	return body, nil
}

// fill reads at least one more byte, first moving what is left to the front.
func (s *stream) fill() error {
	if s.eof {
		return fmt.Errorf("%w: the records end early", kerr.InvalidRecord)
	}
	if s.start > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
		s.start = 0
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(s.buf, make([]byte, cap(s.buf))...)[:len(s.buf)]
	}
	for {
		n, err := s.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if s.left -= int64(n); s.left < 0 {
			return tooLarge(s.maxBytes)
		}
		if err == io.EOF {
			if s.eof = true; n == 0 {
				return fmt.Errorf("%w: the records end early", kerr.InvalidRecord)
			}
			return nil
		}
		if err != nil {
			return decodeError(err, s.maxBytes)
		}
		if n > 0 {
			return nil
		}
	}
}

// end reports bytes behind the last record, and damage in what the codec has yet to read.
func (s *stream) end() error {
	for !s.eof && s.start == len(s.buf) {
		s.buf, s.start = s.buf[:0], 0
		n, err := s.Read(s.buf[:cap(s.buf)])
		s.buf = s.buf[:n]
		if err == io.EOF {
			s.eof = true
		} else if err != nil {
			return decodeError(err, s.maxBytes)
		}
	}
	if s.start < len(s.buf) {
		return fmt.Errorf("%w: bytes behind the last record", kerr.InvalidRecord)
	}
	return nil
}
