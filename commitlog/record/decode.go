package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"
)

// decoder is one pooled decompressor.
type decoder interface {
	io.Reader
	release() // gives it back to its pool
}

// openDecoder returns a decoder of data.
func openDecoder(codec Codec, data []byte, maxBytes int64) (decoder, error) {
	switch codec {
	case Gzip:
		d := gzipPool.Get().(*gzipDecoder)
		d.src.Reset(data)
		if err := d.z.Reset(&d.src); err != nil {
			d.release()
			return nil, decodeError(err, maxBytes)
		}
		return d, nil
	case Snappy:
		d := snappyPool.Get().(*snappyDecoder)
		d.reset(data, maxBytes)
		return d, nil
	case LZ4:
		d := lz4Pool.Get().(*lz4Decoder)
		d.src.Reset(data)
		d.z.Reset(&d.src)
		return d, nil
	case Zstd:
		return openZstd(data, maxBytes)
	}
	return nil, fmt.Errorf("%w: codec %d", kerr.UnsupportedCompressionType, codec)
}

func decodeError(err error, maxBytes int64) error {
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge(maxBytes)
	}
	if k := (*kerr.Error)(nil); errors.As(err, &k) {
		return err
	}
	return fmt.Errorf("%w: decompressing: %w", kerr.CorruptMessage, err)
}

type gzipDecoder struct {
	src bytes.Reader
	z   gzip.Reader
}

var gzipPool = sync.Pool{New: func() any { return new(gzipDecoder) }}

// Read decompresses as io.Reader.
func (d *gzipDecoder) Read(p []byte) (int, error) { return d.z.Read(p) }

func (d *gzipDecoder) release() {
	d.src.Reset(nil)
	gzipPool.Put(d)
}

type lz4Decoder struct {
	src bytes.Reader
	z   *lz4.Reader
}

var lz4Pool = sync.Pool{New: func() any { return &lz4Decoder{z: lz4.NewReader(nil)} }}

// Read decompresses as io.Reader.
func (d *lz4Decoder) Read(p []byte) (int, error) { return d.z.Read(p) }

func (d *lz4Decoder) release() {
	d.src.Reset(nil)
	d.z.Reset(&d.src)
	lz4Pool.Put(d)
}

// zstdWindow is the largest window that a pooled stream decoder allocates. A frame may ask for up to 128 MiB in six
// bytes; such frames are decoded whole, where memory follows the output.
const zstdWindow = 8 << 20

type zstdDecoder struct {
	src bytes.Reader
	z   *zstd.Decoder
}

var zstdPool = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		panic(err) // the options are constants
	}
	return &zstdDecoder{z: z}
}}

func openZstd(data []byte, maxBytes int64) (decoder, error) {
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return nil, decodeError(err, maxBytes)
	}
	if h.WindowSize > zstdWindow && !h.SingleSegment {
		return decodeWhole(data, maxBytes)
	}
	d := zstdPool.Get().(*zstdDecoder)
	d.src.Reset(data)
	if err := d.z.Reset(&d.src); err != nil {
		d.release()
		return nil, decodeError(err, maxBytes)
	}
	return d, nil
}

// Read decompresses as io.Reader.
func (d *zstdDecoder) Read(p []byte) (int, error) {
	return d.z.Read(p)
}

func (d *zstdDecoder) release() {
	d.src.Reset(nil)
	_ = d.z.Reset(nil) // releases the source; cannot fail without one
	zstdPool.Put(d)
}

// decodeWhole decodes a frame with a large window in one go.
func decodeWhole(data []byte, maxBytes int64) (decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(maxBytes)), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, decodeError(err, maxBytes)
	}
	defer z.Close()
	out, err := z.DecodeAll(data, nil)
	if err != nil {
		return nil, decodeError(err, maxBytes)
	}
	return &wholeDecoder{*bytes.NewReader(out)}, nil
}

type wholeDecoder struct{ bytes.Reader }

func (*wholeDecoder) release() {}

// xerialHeader starts the frames of Java's SnappyOutputStream; version and compatible version (4 bytes each) follow.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

// snappyDecoder reads xerial frames, as Java and librdkafka write them, or one bare block, as some clients do.
type snappyDecoder struct {
	data     []byte // compressed bytes not yet read
	framed   bool
	block    []byte // the decoded block, pooled with the decoder
	pos      int    // read up to here
	maxBytes int64
}

var snappyPool = sync.Pool{New: func() any { return new(snappyDecoder) }}

func (d *snappyDecoder) reset(data []byte, maxBytes int64) {
	d.data, d.block, d.pos, d.maxBytes = data, d.block[:0], 0, maxBytes
	if d.framed = len(data) >= xerialHeaderSize && bytes.HasPrefix(data, xerialHeader); d.framed {
		d.data = data[xerialHeaderSize:]
	}
}

func (d *snappyDecoder) release() {
	d.data = nil
	if cap(d.block) <= retainedLimit {
		snappyPool.Put(d)
	}
}

// Read decompresses as io.Reader.
func (d *snappyDecoder) Read(p []byte) (int, error) {
	for d.pos == len(d.block) {
		if len(d.data) == 0 {
			return 0, io.EOF
		}
		if err := d.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.block[d.pos:])
	d.pos += n
	return n, nil
}

func (d *snappyDecoder) nextBlock() error {
	src := d.data
	if d.framed {
		if len(src) < 4 {
			return fmt.Errorf("%w: snappy frame cut short", kerr.CorruptMessage)
		}
		n := binary.BigEndian.Uint32(src)
		if uint64(n) > uint64(len(src)-4) {
			return fmt.Errorf("%w: snappy block of %d bytes in %d", kerr.CorruptMessage, n, len(src)-4)
		}
		src = src[4 : 4+n]
		d.data = d.data[4+n:]
	} else {
		d.data = nil
	}
	size, err := s2.DecodedLen(src)
	if err != nil {
		return err
	}
	if int64(size) > d.maxBytes {
		return tooLarge(d.maxBytes)
	}
	// No honest block expands more than 64 bytes for each 3-byte copy.
	if size > 22*len(src)+64 {
		return fmt.Errorf("%w: snappy block of %d bytes claims %d", kerr.CorruptMessage, len(src), size)
	}
	d.block, err = s2.Decode(d.block[:cap(d.block)], src)
	d.pos = 0
	return err
}
