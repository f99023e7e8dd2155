package postgres_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/internal/testpg"
	"varve/metadata"
)

func isrChange(p *metadata.Partition, isr ...metadata.BrokerID) metadata.ISRChange {
	c := metadata.ISRChange{TopicPartition: p.TopicPartition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, id := range isr {
		c.ISR = append(c.ISR, metadata.ISRMember{ID: id, Epoch: -1})
	}
	return c
}

// One call with several changes: each has its outcome, what can be done is done, and the image shows it.
func TestAlterISR(t *testing.T) {
	s := open(t)
	b1 := newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	id := topic(t, s, "flights", ids{1, 2}, ids{1, 2}, ids{2, 1}, ids{1, 2})
	ps := snapshot(t, s).Topics[id].Partitions
	old := isrChange(ps[3], 1)
	old.LeaderEpoch--
	twice := isrChange(ps[0], 1, 2)
	twice.PartitionEpoch++
	changes := []metadata.ISRChange{isrChange(ps[1], 1, 2), isrChange(ps[0], 1), isrChange(ps[2], 2), old, {TopicPartition: metadata.TopicPartition{TopicID: uuid.New()}}, twice}
	before := snapshot(t, s).Version
	out, err := s.AlterISR(t.Context(), 1, b1.epoch, changes)
	if err != nil || len(out) != len(changes) {
		t.Fatal(out, err)
	}
	for i, want := range []*kerr.Error{nil, nil, kerr.InvalidRequest, kerr.FencedLeaderEpoch, kerr.UnknownTopicOrPartition, nil} {
		wantKafka(t, out[i].Err, want)
	}
	if p := out[0].Partition; p.PartitionEpoch != 0 || len(p.ISR) != 2 {
		t.Errorf("nothing to change: %+v", p)
	}
	if p := out[1].Partition; p.PartitionEpoch != 1 || !slices.Equal(p.ISR, ids{1}) {
		t.Errorf("shrunk: %+v", p)
	}
	im := snapshot(t, s)
	if p := im.Topics[id].Partitions[0]; p.PartitionEpoch != 2 || !slices.Equal(p.ISR, ids{1, 2}) || p.LeaderEpoch != 0 || im.Version != before+1 {
		t.Errorf("shrunk and expanded: %+v, version %d after %d", p, im.Version, before)
	}
	// Without any change there is no new version; with an old registration there is nothing at all.
	if out, err := s.AlterISR(t.Context(), 1, b1.epoch, changes[:1]); err != nil || out[0].Err != nil || snapshot(t, s).Version != im.Version {
		t.Error(out, err)
	}
	_, err = s.AlterISR(t.Context(), 1, b1.epoch-1, changes)
	wantKafka(t, err, kerr.StaleBrokerEpoch)
	_, err = s.AlterISR(t.Context(), 7, 1, changes)
	wantKafka(t, err, kerr.StaleBrokerEpoch)
}

// A member cannot be added while its broker is being fenced: the change waits, and then sees it.
func TestAlterISRAgainstFencing(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	b1 := newBroker(1).join(t, s)
	newBroker(2).join(t, s)
	id := topic(t, s, "flights", ids{1, 2})
	exec(t, connect(t, url), `UPDATE partition SET isr = '{1}'`)
	p := snapshot(t, s).Topics[id].Partitions[0]
	conn := connect(t, url)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `UPDATE broker SET fenced = true WHERE broker_id = 2`)
	done := make(chan error, 1)
	go func() {
		out, err := s.AlterISR(t.Context(), 1, b1.epoch, []metadata.ISRChange{isrChange(p, 1, 2)})
		if err == nil {
			err = out[0].Err
		}
		done <- err
	}()
	awaitWaiting(t, url, 1)
	exec(t, conn, `COMMIT`)
	wantKafka(t, <-done, kerr.IneligibleReplica)
}
