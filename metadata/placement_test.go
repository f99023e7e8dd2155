package metadata

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func racked(racks ...string) map[BrokerID]*Broker {
	brokers := map[BrokerID]*Broker{}
	for i, rack := range racks {
		id := BrokerID(i + 1)
		brokers[id] = &Broker{ID: id, Rack: rack}
	}
	return brokers
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name                       string
		brokers                    map[BrokerID]*Broker
		from, partitions, replicas int
		start                      int
		want                       string
	}{
		{"leaders go round", racked("", "", ""), 0, 4, 1, 0, "[[1] [2] [3] [1]]"},
		{"start shifts", racked("", "", ""), 0, 3, 1, 1, "[[2] [3] [1]]"},
		{"added partitions go on where the others ended", racked("", "", ""), 3, 2, 1, 1, "[[2] [3]]"},
		{"followers are the next", racked("", "", ""), 0, 3, 2, 0, "[[1 2] [2 3] [3 1]]"},
		{"and others the next time round", racked("", "", ""), 3, 3, 2, 0, "[[1 3] [2 1] [3 2]]"},
		{"racks alternate", racked("a", "a", "b", "b"), 0, 4, 2, 0, "[[1 3] [3 2] [2 4] [4 1]]"},
		{"one replica a rack before a second", racked("a", "a", "a", "b"), 0, 1, 3, 0, "[[1 4 2]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Place(c.brokers, c.from, c.partitions, c.replicas, c.start)
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("got %v %v, want %s", got, err, c.want)
			}
		})
	}
}

// Whatever the cluster, replicas are distinct, on as many racks as there are, and led by live brokers in even numbers.
func TestPlaceSpreadsEvenly(t *testing.T) {
	brokers := racked("a", "b", "c", "a", "b", "c", "a")
	brokers[4].Fenced = true
	got, err := Place(brokers, 0, 600, 3, 17)
	if err != nil {
		t.Fatal(err)
	}
	leads := map[BrokerID]int{}
	for p, replicas := range got {
		racks := map[string]bool{}
		for i, id := range replicas {
			racks[brokers[id].Rack] = true
			if slices.Contains(replicas[:i], id) {
				t.Fatalf("partition %d: %v", p, replicas)
			}
		}
		if len(racks) != 3 {
			t.Errorf("partition %d on %d racks: %v", p, len(racks), replicas)
		}
		leads[replicas[0]]++
	}
	if leads[4] != 0 || len(leads) != 6 {
		t.Errorf("leaders %v", leads)
	}
	for id, n := range leads {
		if n != 100 {
			t.Errorf("broker %d leads %d of 600", id, n)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	fenced := racked("", "")
	fenced[1].Fenced, fenced[2].Fenced = true, true
	for _, c := range []struct {
		brokers              map[BrokerID]*Broker
		partitions, replicas int
		want                 *kerr.Error
	}{
		{racked(""), 1, 2, kerr.InvalidReplicationFactor},
		{racked(""), 1, 0, kerr.InvalidReplicationFactor},
		{racked(""), 0, 1, kerr.InvalidPartitions},
		{fenced, 1, 1, kerr.InvalidReplicationFactor},
	} {
		if got, err := Place(c.brokers, 0, c.partitions, c.replicas, 0); !errors.Is(err, c.want) {
			t.Errorf("%d partitions, %d replicas: %v %v, want %v", c.partitions, c.replicas, got, err, c.want)
		}
	}
}
