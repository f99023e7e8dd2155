package metadata

import (
	"fmt"
	"slices"
	"testing"
)

func TestAssignShards(t *testing.T) {
	none := make([]Shard, 6)
	for i := range none {
		none[i].Owner = NoBroker
	}
	alone := AssignShards(none, []BrokerID{3})
	if got := fmt.Sprint(alone); got != "[{3 1} {3 1} {3 1} {3 1} {3 1} {3 1}]" {
		t.Fatal(got)
	}
	two := AssignShards(alone, []BrokerID{3, 4})
	if got := fmt.Sprint(two); got != "[{4 2} {4 2} {4 2} {3 1} {3 1} {3 1}]" {
		t.Errorf("a newcomer gets its share, no more moves: %s", got)
	}
	if again := AssignShards(two, []BrokerID{4, 3}); !slices.Equal(again, two) {
		t.Errorf("not stable: %v", again)
	}
	if got := fmt.Sprint(AssignShards(two, []BrokerID{4})); got != "[{4 2} {4 2} {4 2} {4 2} {4 2} {4 2}]" {
		t.Errorf("the others' go to who is left: %s", got)
	}
	if got := AssignShards(two, nil); !slices.Equal(got, two) {
		t.Errorf("nobody there, nothing moves: %v", got)
	}
}
