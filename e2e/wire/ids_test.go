//go:build e2e

package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"reflect"
)

// idKind names the sort of id a field of that name holds, empty for other fields.
func idKind(field string) string {
	switch field {
	case "TopicID":
		return "topic"
	case "MemberID", "LeaderID", "Leader":
		return "member"
	case "ProducerID":
		return "producer"
	case "SessionID":
		return "session"
	}
	return ""
}

// ids binds the ids in Kafka's exchanges to those of the broker under test.
type ids struct{ bound map[string]any }

func newIDs() *ids { return &ids{bound: map[string]any{}} }

func idKey(kind string, v any) string { return fmt.Sprintf("%s %v", kind, v) }

// free says whether v is an id that a broker makes up, and not a word for none.
func free(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case int64: // a producer id
		return v >= 0
	case int32: // a session id, 0 for none
		return v > 0
	case [16]byte:
		return v != [16]byte{}
	}
	return false
}

// substitute puts the broker's ids into a request of Kafka's exchanges, and reports whether anything changed. An id that
// no answer has bound so far was made up by the client and stays.
func (m *ids) substitute(v reflect.Value, field string) bool {
	changed := false
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			changed = m.substitute(v.Elem(), field)
		}
		return changed
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" {
				changed = m.substitute(v.Field(i), f.Name) || changed
			}
		}
		return changed
	case reflect.Slice:
		if field == "Records" && v.Type().Elem().Kind() == reflect.Uint8 {
			return m.patchBatch(v.Bytes())
		}
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				changed = m.substitute(v.Index(i), field) || changed
			}
		}
		return changed
	}
	kind := idKind(field)
	if kind == "" || !v.CanInterface() || !free(v.Interface()) {
		return false
	}
	bound, ok := m.bound[idKey(kind, v.Interface())]
	if !ok {
		m.bound[idKey(kind, v.Interface())] = v.Interface()
		return false
	}
	if bound == v.Interface() {
		return false
	}
	v.Set(reflect.ValueOf(bound))
	return true
}

const (
	batchMagic      = 16
	batchCRC        = 17
	batchAttributes = 21
	batchProducerID = 43
	batchHeader     = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// patchBatch puts the broker's producer id into the header of a record batch, in place.
func (m *ids) patchBatch(b []byte) bool {
	if len(b) < batchHeader || b[batchMagic] != 2 {
		return false
	}
	pid := int64(binary.BigEndian.Uint64(b[batchProducerID:]))
	bound, ok := m.bound[idKey("producer", pid)].(int64)
	if !ok || bound == pid {
		return false
	}
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(bound))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return true
}

// same compares an id of Kafka with the broker's and binds them when Kafka's is new.
func (m *ids) same(kind string, want, got any) bool {
	if !free(want) {
		return want == got
	}
	bound, ok := m.bound[idKey(kind, want)]
	if ok {
		return bound == got
	}
	if !free(got) {
		return false
	}
	m.bound[idKey(kind, want)] = got
	return true
}

// of is the broker's id for Kafka's, or Kafka's own.
func (m *ids) of(kind string, want any) any {
	if bound, ok := m.bound[idKey(kind, want)]; ok {
		return bound
	}
	return want
}

// batches describes record batches for the comparison: the leader epoch and, with a producer id, the CRC are blanked.
func (m *ids) batches(b []byte, kafkas bool) []any {
	var all []any
	for len(b) > 12 {
		size := 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
		if size < batchHeader || size > len(b) {
			break
		}
		batch := append([]byte{}, b[:size]...)
		clear(batch[12:batchMagic])
		pid := int64(binary.BigEndian.Uint64(batch[batchProducerID:]))
		if pid >= 0 {
			clear(batch[batchCRC:batchAttributes])
			if kafkas {
				if bound, ok := m.of("producer", pid).(int64); ok {
					binary.BigEndian.PutUint64(batch[batchProducerID:], uint64(bound))
				}
			}
		}
		all = append(all, hex.EncodeToString(batch))
		b = b[size:]
	}
	if len(b) > 0 {
		all = append(all, "a rest of "+hex.EncodeToString(b))
	}
	return all
}
