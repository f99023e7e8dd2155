package replica

import (
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// A partition that is followed in a new leader epoch is not dropped because of an answer to the request for the old one, which the leader
// refuses: nobody would follow it again before the next change of the metadata.
func TestAnswerToAPredecessor(t *testing.T) {
	f := newFetcher(nil, fetcherID{leader: 1})
	s := &fetchSession{f: f, dirty: map[metadata.TopicPartition]bool{}, sent: 2, inFlight: 2} // no third request may be sent now
	key := metadata.TopicPartition{TopicID: uuid.New()}
	f.post(key, &following{epoch: 5})
	f.receive(s)
	resp := kmsg.NewPtrFetchResponse()
	topic, partition := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	topic.TopicID, partition.ErrorCode = key.TopicID, kerr.FencedLeaderEpoch.Code
	topic.Partitions = append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	if err := s.answered(t.Context(), resp); err != nil {
		t.Fatal(err)
	}
	if f.parts[key] == nil || !s.dirty[key] {
		t.Error("the partition is not followed any more")
	}
}
