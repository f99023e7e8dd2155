package metadata

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func deltaPartition(id TopicID, index, epoch int32) *Partition {
	return &Partition{TopicPartition: TopicPartition{TopicID: id, Partition: index}, PartitionEpoch: epoch, ISR: []BrokerID{1, 2}}
}

// deltaImage has topics a and b with three partitions each.
func deltaImage(t *testing.T, a, b TopicID) *Image {
	t.Helper()
	d := Delta{Topics: []*Topic{{ID: a, Name: "a", Configs: map[string]string{"retention.ms": "1"}}, {ID: b, Name: "b"}}}
	for i := range int32(3) {
		d.Partitions = append(d.Partitions, deltaPartition(a, i, 0), deltaPartition(b, i, 0))
	}
	im := &Image{}
	if err := im.Derive(&Image{}, d); err != nil {
		t.Fatal(err)
	}
	return im
}

func TestDeriveSharesWhatIsTheSame(t *testing.T) {
	a, b := uuid.New(), uuid.New()
	prev := deltaImage(t, a, b)
	next := &Image{}
	if err := next.Derive(prev, Delta{Partitions: []*Partition{deltaPartition(a, 1, 7), deltaPartition(b, 2, 0)}}); err != nil {
		t.Fatal(err)
	}
	if next.Topics[b] != prev.Topics[b] || next.ByName["b"] != prev.Topics[b] {
		t.Error("b did not change, and is another pointer")
	}
	was, is := prev.Topics[a], next.Topics[a]
	if is == was || next.ByName["a"] != is || !reflect.DeepEqual(is.Configs, was.Configs) {
		t.Errorf("a: %+v", is)
	}
	if is.Partitions[0] != was.Partitions[0] || is.Partitions[2] != was.Partitions[2] || is.Partitions[1].PartitionEpoch != 7 {
		t.Errorf("partitions of a: %+v", is.Partitions)
	}
	if was.Partitions[1].PartitionEpoch != 0 {
		t.Error("the image before was changed")
	}
}

func TestDerive(t *testing.T) {
	a, b, c := uuid.New(), uuid.New(), uuid.New()
	for _, test := range []struct {
		name  string
		d     Delta
		check func(prev, next *Image) bool
		err   string
	}{
		{"nothing", Delta{}, func(prev, next *Image) bool {
			return reflect.ValueOf(prev.Topics).Pointer() == reflect.ValueOf(next.Topics).Pointer() && next.same(prev)
		}, ""},
		{"the same again", Delta{Topics: []*Topic{{ID: b, Name: "b"}}, Partitions: []*Partition{deltaPartition(b, 0, 0)}},
			func(prev, next *Image) bool { return next.same(prev) }, ""},
		{"a configuration", Delta{Topics: []*Topic{{ID: a, Name: "a"}}}, func(prev, next *Image) bool {
			return len(next.Topics[a].Configs) == 0 && len(prev.Topics[a].Configs) == 1 && next.Topics[a].Partitions[2] == prev.Topics[a].Partitions[2]
		}, ""},
		{"another partition", Delta{Partitions: []*Partition{deltaPartition(a, 3, 0)}}, func(prev, next *Image) bool {
			return len(next.Topics[a].Partitions) == 4 && len(prev.Topics[a].Partitions) == 3
		}, ""},
		{"a new topic with the name of one that is gone", Delta{
			Topics: []*Topic{{ID: c, Name: "a"}}, Partitions: []*Partition{deltaPartition(c, 0, 0)}, Gone: []TopicID{a},
		}, func(prev, next *Image) bool {
			return next.ByName["a"].ID == c && next.Topics[a] == nil && len(next.Topics) == 2 && prev.ByName["a"].ID == a
		}, ""},
		{"a gap", Delta{Partitions: []*Partition{deltaPartition(a, 4, 0)}}, nil, "has partition 4 where 3 should be"},
		{"no topic", Delta{Partitions: []*Partition{deltaPartition(c, 0, 0)}}, nil, "which is not there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			prev, next := deltaImage(t, a, b), &Image{}
			err := next.Derive(prev, test.d)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Error(err)
				}
				return
			}
			if err != nil || !test.check(prev, next) {
				t.Errorf("%v\n%+v", err, next)
			}
		})
	}
}

// Two images that were read in full share what is the same, too.
func TestShare(t *testing.T) {
	a, b := uuid.New(), uuid.New()
	prev, next := deltaImage(t, a, b), deltaImage(t, a, b)
	next.Topics[a].Partitions[1].ISR = []BrokerID{1}
	next.share(prev)
	if next.Topics[b] != prev.Topics[b] || next.ByName["b"] != prev.Topics[b] {
		t.Error("b is not shared")
	}
	was, is := prev.Topics[a], next.Topics[a]
	if was == is || is.Partitions[0] != was.Partitions[0] || is.Partitions[1] == was.Partitions[1] {
		t.Error("a is shared too much or too little")
	}
	if next.same(prev) {
		t.Error("the same")
	}
}

// equal compares every field: one that is added later must be added there.
func TestPartitionEqualComparesEveryField(t *testing.T) {
	for i := range reflect.TypeFor[Partition]().NumField() {
		p, q := deltaPartition(uuid.New(), 1, 1), &Partition{}
		*q = *p
		f := reflect.ValueOf(q).Elem().Field(i)
		switch f.Kind() {
		case reflect.Struct:
			q.TopicPartition.Partition++
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 3, 3))
		default:
			f.SetInt(f.Int() + 1)
		}
		if p.equal(q) || !p.equal(p) {
			t.Errorf("field %s is not compared", reflect.TypeFor[Partition]().Field(i).Name)
		}
	}
}
