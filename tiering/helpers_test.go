package tiering

import (
	"testing"

	"varve/commitlog/record"
)

// testBatch is a batch of count records from offset on, one ms apart from timestamp on, of about size bytes in all.
func testBatch(t testing.TB, offset int64, count int, timestamp int64, size int) []byte {
	t.Helper()
	b := record.NewBuilder()
	b.BaseOffset = offset
	value := make([]byte, size/count)
	for i := range value {
		value[i] = byte(offset) + byte(i)
	}
	for i := range count {
		b.Add(timestamp+int64(i), []byte("key"), value)
	}
	return b.Build()
}
