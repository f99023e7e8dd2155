package historycheck

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestEachRuleIsNoticed breaks one rule after the other and wants it named.
func TestEachRuleIsNoticed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	value := func(seq int64) []byte { return Encode("p", seq, 60, random) }
	a, b, c := value(0), value(1), value(2)
	flipped := append([]byte{}, b...)
	flipped[10] ^= 1
	message := func(v []byte) Message {
		m, err := Decode(v)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	type record struct {
		offset int64
		value  []byte
	}
	for _, test := range []struct {
		name  string
		acked []record
		read  []record
		end   int64
		want  string // empty: no violation
	}{
		{"all is well", []record{{0, a}, {1, b}}, []record{{0, a}, {1, b}, {2, c}}, 3, ""},
		{"lost at the end", []record{{0, a}, {1, b}}, []record{{0, a}}, 1, "1 acknowledged records are missing, the first at offset 1"},
		{"a gap", nil, []record{{0, a}, {2, b}}, 3, "offset 2 after 0"},
		{"twice", nil, []record{{0, a}, {1, b}, {2, b}}, 3, "record 1 of p again"},
		{"out of order", nil, []record{{0, b}, {1, a}}, 2, "missing"},
		{"other bytes", nil, []record{{0, a}, {1, flipped}}, 2, "bytes other than those sent"},
		{"another offset than acknowledged", []record{{0, b}}, []record{{0, a}, {1, b}}, 2, "but it was"},
		{"one offset for two", []record{{0, a}, {0, b}}, nil, 1, "acknowledged twice"},
		{"a read that stops early", nil, []record{{0, a}}, 2, "but it ends at 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := New()
			for _, r := range test.acked {
				h.Acked(0, r.offset, message(r.value))
			}
			ps := &pass{seqs: map[string]int64{}}
			for _, r := range test.read {
				h.read(ps, 0, r.offset, r.value)
			}
			h.ended(ps, 0, test.end, h.known()[0])
			all := strings.Join(h.Violations(), "\n")
			if test.want == "" && all != "" || test.want != "" && !strings.Contains(all, test.want) {
				t.Errorf("want %q, have %q", test.want, all)
			}
		})
	}
}

// TestASecondReadingMustAgree reads one offset with two values.
func TestASecondReadingMustAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := New()
	h.read(&pass{seqs: map[string]int64{}}, 0, 0, Encode("p", 0, 60, random))
	h.read(&pass{seqs: map[string]int64{}}, 0, 0, Encode("p", 0, 60, random))
	if v := h.Violations(); len(v) != 1 {
		t.Errorf("violations %v", v)
	}
}
