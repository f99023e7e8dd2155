package postgres_test

import (
	"testing"
	"time"

	"varve/metadata"
)

// One broker joins, a topic is made, the broker takes over everything.
func TestFirstBroker(t *testing.T) {
	s := open(t)
	id, err := s.ClusterID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.ClusterID(t.Context())
	if err != nil || again != id {
		t.Fatal(id, again, err)
	}
	b := newBroker(1).join(t, s)
	tid := topic(t, s, "flights", []metadata.BrokerID{1}, []metadata.BrokerID{1})
	epoch, ok, err := s.AcquireController(t.Context(), 1, time.Minute)
	if err != nil || !ok {
		t.Fatal(epoch, ok, err)
	}
	n, err := s.ControllerPass(t.Context(), epoch)
	if err != nil || n != metadata.GroupShards {
		t.Fatal(n, err)
	}
	im := snapshot(t, s)
	if !im.Live(1) || im.ClusterID != id || im.Controller != 1 || im.Brokers[1].Epoch != b.epoch {
		t.Fatalf("%+v %+v", im, im.Brokers[1])
	}
	if got := im.Topics[tid]; len(got.Partitions) != 2 || got.Partitions[1].Leader != 1 || im.ByName["flights"] != got {
		t.Fatalf("%+v", got)
	}
	if sh := im.GroupShards[49]; sh.Owner != 1 || sh.Epoch != 1 {
		t.Fatal(im.GroupShards)
	}
}
