package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"time"
)

const (
	// sizePrefix is the length of the size field before each frame, which does not count itself.
	sizePrefix = 4
	// fixedHeader is what every request header begins with: api key, version, correlation id.
	fixedHeader = 8
	// frameStep is how much of a large frame is allocated before the first bytes of it have come; it doubles as they come.
	frameStep = 256 << 10
	// maxControlBytes bounds requests that carry no records. Decoding makes of two bytes up to fifty bytes of structs, so
	// socket.request.max.bytes, made for records, would be too much for them.
	maxControlBytes = 16 << 20
	// frameTimeout is how long the peer may take for each frameStep of a frame that it has begun.
	frameTimeout = time.Minute
)

// errFrame says that the bytes of a peer are no request that this broker serves: there is nothing to answer, the connection closes.
var errFrame = errors.New("broken frame")

// A frame is the bytes of one request behind its size field: header and body.
type frame struct {
	b     []byte
	class int // of framePools, -1: ordinary garbage-collected memory
}

// Pooled frames come in powers of two, from 1 KiB to 4 MiB. Larger ones are rare and left to the garbage collector.
const (
	minFrameClass = 10
	maxFrameClass = 22
)

var framePools [maxFrameClass + 1]sync.Pool

// newFrame returns a frame of size bytes; with pooled its memory is taken from a pool and goes back there on release.
func newFrame(size int, pooled bool) *frame {
	class := max(bits.Len(uint(max(size, 1)-1)), minFrameClass)
	if !pooled || class > maxFrameClass {
		return &frame{b: make([]byte, size), class: -1}
	}
	f, ok := framePools[class].Get().(*frame)
	if !ok {
		f = &frame{b: make([]byte, 1<<class), class: class}
	}
	f.b = f.b[:size]
	return f
}

// release ends the use of the frame's bytes. Call it once.
func (f *frame) release() {
	if f != nil && f.class >= 0 {
		f.b = f.b[:cap(f.b)]
		framePools[f.class].Put(f)
	}
}

// A preamble is what the first bytes of a frame tell before memory is spent on it.
type preamble struct {
	size    int // of the frame, at least fixedHeader
	key     int16
	version int16
}

// peekPreamble waits for the beginning of the next frame and leaves it unread.
func peekPreamble(in *bufio.Reader, limit int) (preamble, error) {
	b, err := in.Peek(sizePrefix)
	if err != nil {
		return preamble{}, err
	}
	size := int(int32(binary.BigEndian.Uint32(b)))
	if size < fixedHeader || size > limit {
		return preamble{}, fmt.Errorf("%w: size %d, want %d to %d", errFrame, size, fixedHeader, limit)
	}
	if b, err = in.Peek(sizePrefix + fixedHeader); err != nil {
		return preamble{}, err
	}
	return preamble{
		size:    size,
		key:     int16(binary.BigEndian.Uint16(b[4:])),
		version: int16(binary.BigEndian.Uint16(b[6:])),
	}, nil
}

// readFrame reads the frame whose preamble was peeked. Memory grows with the bytes that come, not with the size that was claimed.
// progress is called before each wait for the peer, to move the read deadline.
func readFrame(in *bufio.Reader, size int, pooled bool, progress func()) (*frame, error) {
	if _, err := in.Discard(sizePrefix); err != nil {
		return nil, err
	}
	have := 0
	f := newFrame(min(size, frameStep), pooled)
	for {
		if in.Buffered() < len(f.b)-have {
			progress()
		}
		n, err := io.ReadFull(in, f.b[have:])
		have += n
		if err != nil {
			f.release()
			return nil, err
		}
		if have == size {
			return f, nil
		}
		larger := newFrame(min(size, 2*have), pooled)
		copy(larger.b, f.b)
		f.release()
		f = larger
	}
}
