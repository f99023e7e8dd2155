package fetch

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

func entry(partition int32) SessionEntry {
	return NewEntry("t", metadata.TopicID{}, PartitionRequest{TopicPartition: metadata.TopicPartition{Partition: partition}})
}

func TestTheLifeOfASession(t *testing.T) {
	var c Sessions
	now := time.Unix(1000, 0)
	s := c.Open([]SessionEntry{entry(0), entry(1)}, false, 1, now)
	results := []PartitionResult{{HighWatermark: 5}, {HighWatermark: 6}}
	if named := s.Tell([]SessionEntry{entry(0), entry(1)}, results); !named[0] || !named[1] {
		t.Fatal("the first answer must name everything")
	}
	if _, _, err := c.Next(s.ID, 9, false, nil, nil, now); !errors.Is(err, kerr.InvalidFetchSessionEpoch) {
		t.Fatal(err)
	}
	if _, _, err := c.Next(s.ID+1, 1, false, nil, nil, now); !errors.Is(err, kerr.FetchSessionIDNotFound) {
		t.Fatal(err)
	}
	if _, _, err := c.Next(s.ID, 1, true, nil, nil, now); !errors.Is(err, kerr.FetchSessionTopicIDError) {
		t.Fatal(err)
	}
	_, given, err := c.Next(s.ID, 1, false, []SessionEntry{entry(2)}, []SessionEntry{entry(0)}, now)
	if err != nil || len(given) != 2 || given[0].Request.TopicPartition.Partition != 1 || given[1].Request.TopicPartition.Partition != 2 {
		t.Fatalf("%+v, %v", given, err)
	}
	if named := s.Tell(given, []PartitionResult{{HighWatermark: 6}, {HighWatermark: 1}}); named[0] || !named[1] {
		t.Fatalf("named %v: an unchanged partition is not named, a new one is", named)
	}
	if other := c.Open([]SessionEntry{entry(7)}, false, 1, now.Add(time.Minute)); other != nil {
		t.Fatal("a session in use lost its slot")
	}
	if other := c.Open([]SessionEntry{entry(7)}, false, 1, now.Add(3*time.Minute)); other == nil {
		t.Fatal("an unused session kept its slot")
	}
}
