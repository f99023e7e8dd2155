package record

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Rewrite returns a new batch with the same producer fields and records, compressed with codec (compression.type
// other than producer). Offsets become 0..n-1 from the base offset and the max timestamp that of the records, as Kafka does. The
// errors are those of Walk.
func Rewrite(b Batch, codec Codec) (Batch, error) {
	if codec < None || codec > Zstd {
		return nil, fmt.Errorf("%w: codec %d", kerr.UnsupportedCompressionType, codec)
	}
	out := rewriter(b)
	out.Codec, out.deleteHorizon = codec, false
	err := b.Walk(0, func(r *Record) error {
		r.OffsetDelta = out.count
		out.add(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.LogAppendTime() {
		out.maxTime = b.MaxTimestamp()
	}
	return out.Build(), nil
}

// compress appends data to dst, compressed as Kafka's Java client does.
func compress(codec Codec, dst, data []byte) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	switch codec {
	case None:
		return append(dst, data...), nil
	case Gzip:
		w := gzip.NewWriter(buf)
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		err := w.Close()
		return buf.Bytes(), err
	case Snappy:
		return appendXerial(dst, data), nil
	case LZ4:
		w := lz4.NewWriter(buf)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		err := w.Close()
		return buf.Bytes(), err
	case Zstd:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			return nil, err
		}
		defer func() { _ = w.Close() }() // it has no destination: nothing to lose
		return w.EncodeAll(data, dst), nil
	}
	return nil, fmt.Errorf("%w: codec %d", kerr.UnsupportedCompressionType, codec)
}

// xerialBlock is the block size of Java's SnappyOutputStream, bytes before compression.
const xerialBlock = 32 << 10

func appendXerial(dst, data []byte) []byte {
	dst = append(dst, xerialHeader...)
	dst = binary.BigEndian.AppendUint32(dst, 1) // version
	dst = binary.BigEndian.AppendUint32(dst, 1) // compatible version
	for len(data) > 0 {
		n := min(len(data), xerialBlock)
		block := snappy.Encode(nil, data[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		data = data[n:]
	}
	return dst
}
