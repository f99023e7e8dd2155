package coordinator

import "testing"

// The hashes are those of Java's String.hashCode.
func TestShardOf(t *testing.T) {
	for key, want := range map[string]int32{
		"":                   0,
		"a":                  97 % 50,
		"ab":                 3105 % 50,
		"wire-group":         25,
		"polygenelubricants": 0, // hashes to the least integer, which has no absolute value
		"\U0001F600":         1772899 % 50,
	} {
		if got := ShardOf(key); got != want {
			t.Errorf("ShardOf(%q) = %d, want %d", key, got, want)
		}
	}
}
