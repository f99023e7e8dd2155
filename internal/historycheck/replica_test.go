package historycheck

import (
	"math/rand/v2"
	"strings"
	"testing"

	"varve/commitlog/record"
)

// TestEachRuleOfReplicasIsNoticed breaks one rule after the other and wants it named.
func TestEachRuleOfReplicasIsNoticed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([][]byte, 5)
	for i := range values {
		values[i] = Encode("p", int64(i), 60, random)
	}
	batch := func(offset int64, epoch int32, values ...[]byte) record.Batch {
		b := record.NewBuilder()
		for _, v := range values {
			b.Add(1, nil, v)
		}
		built := b.Build()
		built.SetBaseOffset(offset)
		built.SetLeaderEpoch(epoch)
		return built
	}
	one, two, three := batch(0, 1, values[0], values[1]), batch(2, 1, values[2]), batch(3, 2, values[3])
	damaged := append(record.Batch{}, two...)
	damaged[len(damaged)-1] ^= 1
	type replica []record.Batch
	for _, test := range []struct {
		name string
		a, b replica
		want string // empty: nothing
	}{
		{"equal", replica{one, two, three}, replica{one, two, three}, ""},
		{"one begins later", replica{one, two, three}, replica{two, three}, ""},
		{"one ends earlier", replica{one, two, three}, replica{one, two}, "b ends at 3, a at 4"},
		{"one lacks what was acknowledged", replica{one, two}, replica{one, two}, "b lacks 1 acknowledged records, one at offset 3"},
		{"another leader epoch", replica{one, two, three}, replica{one, two, batch(3, 1, values[3])}, "differ (leader epochs 1 and 2)"},
		{"another value", replica{one, two, three}, replica{one, two, batch(3, 2, values[4])}, "held by b"},
		{"other batches", replica{one, two, three}, replica{one, batch(2, 1, values[2], values[3])}, "differ"},
		{"a gap", replica{one, two, three}, replica{one, three}, "b: offset 3 after 1"},
		{"damage", replica{one, two, three}, replica{one, damaged, three}, "b: the batch at offset 2 is damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := New()
			for i, v := range values[:4] {
				m, err := Decode(v)
				if err != nil {
					t.Fatal(err)
				}
				h.Acked(0, int64(i), m)
			}
			var copies []Copy
			var said []string
			for i, batches := range []replica{test.a, test.b} {
				c, err := NewCopy([]string{"a", "b"}[i], batches)
				if err != nil {
					said = append(said, err.Error())
				}
				copies = append(copies, c)
			}
			h.Replicas(0, copies)
			all := strings.Join(append(said, h.Violations()...), "\n")
			if test.want == "" && all != "" || test.want != "" && !strings.Contains(all, test.want) {
				t.Errorf("want %q, have %q", test.want, all)
			}
		})
	}
}

// TestAGroupMayReadAgainButNotMiss: repeated reads are no fault, another value and a record that was never read are.
func TestAGroupMayReadAgainButNotMiss(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a, b := Encode("p", 0, 60, random), Encode("p", 1, 60, random)
	h := New()
	for i, v := range [][]byte{a, b} {
		m, err := Decode(v)
		if err != nil {
			t.Fatal(err)
		}
		h.Acked(0, int64(i), m)
	}
	h.groupRead(0, 0, a)
	h.groupRead(0, 0, a)
	if n, where := h.missing(); n != 1 || where != "partition 0, offset 1" {
		t.Errorf("%d missing, one at %s", n, where)
	}
	h.groupRead(0, 1, b)
	if n, _ := h.missing(); n != 0 || len(h.Violations()) > 0 {
		t.Errorf("%d missing, violations %v", n, h.Violations())
	}
	h.groupRead(0, 1, a)
	if len(h.Violations()) != 1 {
		t.Errorf("violations %v", h.Violations())
	}
}
