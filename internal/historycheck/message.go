package historycheck

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
)

// A Message is what a value says about itself.
type Message struct {
	Producer string
	Seq      int64  // counted by the producer for each partition, from 0
	Sum      uint32 // CRC-32C of the whole value: two messages are equal when their bytes are
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode makes a value of about size bytes: "producer seq padding crc".
func Encode(producer string, seq int64, size int, random *rand.Rand) []byte {
	v := make([]byte, 0, size+40)
	v = append(v, producer...)
	v = append(v, ' ')
	v = strconv.AppendInt(v, seq, 10)
	v = append(v, ' ')
	for len(v) < size {
		v = append(v, "abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)])
	}
	return fmt.Appendf(v, " %08x", crc32.Checksum(v, castagnoli))
}

// Decode reads a value of Encode, and says when its bytes are not those that were sent.
func Decode(v []byte) (Message, error) {
	words := bytes.SplitN(v, []byte(" "), 3)
	if len(words) != 3 || len(v) < 9 {
		return Message{}, fmt.Errorf("a value that nobody sent: %.80q", v)
	}
	body, sum := v[:len(v)-9], v[len(v)-8:]
	if want := fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)); want != string(sum) {
		return Message{}, fmt.Errorf("bytes other than those sent: %.80q", v)
	}
	seq, err := strconv.ParseInt(string(words[1]), 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("a value that nobody sent: %.80q", v)
	}
	return Message{string(words[0]), seq, crc32.Checksum(v, castagnoli)}, nil
}
