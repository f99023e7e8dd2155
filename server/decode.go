package server

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// header is a request header (version 0, 1 or 2) without what the preamble told.
type header struct {
	correlationID int32
	clientID      []byte // aliases the frame; nil when null
	body          []byte
}

// parseHeader parses the header of a frame. flexible headers (version 2) carry tagged fields, which are skipped.
func parseHeader(b []byte, flexible bool) (h header, err error) {
	if len(b) < fixedHeader+2 {
		return h, fmt.Errorf("%w: header of %d bytes", errFrame, len(b))
	}
	h.correlationID = int32(binary.BigEndian.Uint32(b[4:]))
	n := int(int16(binary.BigEndian.Uint16(b[fixedHeader:])))
	b = b[fixedHeader+2:]
	if n > len(b) || n < -1 {
		return h, fmt.Errorf("%w: client id of %d bytes", errFrame, n)
	}
	if n >= 0 {
		h.clientID, b = b[:n], b[n:]
	}
	if flexible {
		if b, err = skipTags(b); err != nil {
			return h, err
		}
	}
	h.body = b
	return h, nil
}

// skipTags skips a section of tagged fields (KIP-482).
func skipTags(b []byte) ([]byte, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return nil, fmt.Errorf("%w: tagged fields", errFrame)
	}
	b = b[n:]
	for ; count > 0; count-- {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, fmt.Errorf("%w: tag", errFrame)
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > uint64(len(b)-n-m) {
			return nil, fmt.Errorf("%w: size of a tagged field", errFrame)
		}
		b = b[n+m+int(size):]
	}
	return b, nil
}

// decodeBody decodes a body into r, whose version is set. With alias, strings of r are slices of body; byte fields always are.
//
// kmsg checks every array count against the bytes that are left and an element's least size before it allocates, so what a body can
// make us allocate is a small multiple of its length, which maxControlBytes bounds. A Produce may be larger: see checkProduceShape.
func decodeBody(r kmsg.Request, body []byte, alias bool) error {
	if p, ok := r.(*kmsg.ProduceRequest); ok {
		if err := checkProduceShape(p.Version, body); err != nil {
			return err
		}
	}
	var err error
	if u, ok := r.(kmsg.UnsafeReadFrom); ok && alias {
		err = u.UnsafeReadFrom(body)
	} else {
		err = r.ReadFrom(body)
	}
	if err != nil {
		return fmt.Errorf("%w: body of %s v%d: %w", errFrame, kmsg.NameForKey(r.Key()), r.GetVersion(), err)
	}
	return nil
}
