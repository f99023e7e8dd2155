package server

import (
	"encoding/binary"
	"fmt"
)

const (
	// shapeFree is the length up to which a Produce body is decoded without a look at its shape.
	shapeFree = 1 << 20
	// maxProduceParts bounds the topics, partitions and tagged fields of one larger Produce: together they may become fifty
	// bytes of structs for two bytes of request.
	maxProduceParts = 1 << 17
)

// checkProduceShape walks over a large Produce body without allocating and refuses one that is made of parts rather than of records.
func checkProduceShape(version int16, body []byte) error {
	if len(body) <= shapeFree {
		return nil
	}
	c := cursor{b: body, flexible: version >= 9}
	if version >= 3 {
		c.str() // transactional id
	}
	c.skip(2 + 4) // acks, timeout
	parts := 0
	for topics := c.count(); topics > 0 && !c.bad; topics-- {
		if version >= 13 {
			c.skip(16)
		} else {
			c.str()
		}
		partitions := c.count()
		if parts += 1 + partitions; parts > maxProduceParts {
			return fmt.Errorf("%w: Produce of more than %d partitions", errFrame, maxProduceParts)
		}
		for ; partitions > 0 && !c.bad; partitions-- {
			c.skip(4)
			c.bytes()
			parts += c.tags()
		}
		parts += c.tags()
	}
	if c.tags(); c.bad || parts > maxProduceParts {
		return fmt.Errorf("%w: shape of a Produce", errFrame)
	}
	return nil
}

// A cursor walks over protocol fields. After a field that does not fit it is bad and stands still.
type cursor struct {
	b        []byte
	flexible bool
	bad      bool
}

func (c *cursor) skip(n int) {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return
	}
	c.b = c.b[n:]
}

// uvarint reads an unsigned varint of 32 bits.
func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > 1<<32-1 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

// length reads a length of fixed bytes, or of a varint when flexible: 0 for null.
func (c *cursor) length(fixed int) int {
	if c.flexible {
		return max(c.uvarint()-1, 0)
	}
	if len(c.b) < fixed {
		c.bad, c.b = true, nil
		return 0
	}
	var n int
	if fixed == 2 {
		n = int(int16(binary.BigEndian.Uint16(c.b)))
	} else {
		n = int(int32(binary.BigEndian.Uint32(c.b)))
	}
	c.b = c.b[fixed:]
	return max(n, 0)
}

func (c *cursor) str()       { c.skip(c.length(2)) }
func (c *cursor) bytes()     { c.skip(c.length(4)) }
func (c *cursor) count() int { return c.length(4) }

// tags skips tagged fields and tells how many there were.
func (c *cursor) tags() int {
	if !c.flexible {
		return 0
	}
	n := c.uvarint()
	for i := 0; i < n && !c.bad; i++ {
		c.uvarint()
		c.skip(c.uvarint())
	}
	return n
}
