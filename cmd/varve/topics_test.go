package main

import "testing"

// TestParseTopics: names as Kafka allows them, with or without a number of partitions.
func TestParseTopics(t *testing.T) {
	got, err := parseTopics([]string{"orders:8", "clicks"})
	if err != nil || len(got) != 2 || got[0] != (newTopic{"orders", 8}) || got[1] != (newTopic{"clicks", 0}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", ":3", "a:0", "a:-1", "a:many", "a/b", "..", "a:1:2", "a:20000"} {
		if _, err := parseTopics([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
