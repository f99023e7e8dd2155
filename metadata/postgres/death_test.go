package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/internal/testpg"
	"varve/metadata"
)

// reborn registers the same broker as a new process.
func (b *broker) reborn(t *testing.T, s metadata.Membership) {
	t.Helper()
	b.Incarnation = uuid.New()
	epoch, err := s.Register(t.Context(), b.Registration)
	if err != nil {
		t.Fatal(err)
	}
	b.epoch = epoch
}

// What a broker that comes back as a new process was in sync with, it still is only if nobody else can lead; what it
// was eligible for, only if its last act was to take its leave.
func TestRebirth(t *testing.T) {
	for name, c := range map[string]struct {
		end      func(*testing.T, *broker, metadata.Membership)
		shared   ids // ISR
		elr      ids
		eligible ids
	}{
		"clean":   {func(t *testing.T, b *broker, s metadata.Membership) { unregister(t, b, s) }, ids{1}, nil, ids{2}},
		"unclean": {func(*testing.T, *broker, metadata.Membership) {}, ids{1}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			url := testpg.URL(t)
			s := openURL(t, url)
			newBroker(1).join(t, s)
			b2 := newBroker(2).join(t, s)
			id := topic(t, s, "flights", ids{2, 1}, ids{2}, ids{1, 2})
			two := "2"
			alter(t, s, metadata.ConfigResource{Topic: "flights"}, metadata.ConfigEdit{Name: "min.insync.replicas", Value: &two})
			exec(t, connect(t, url), `UPDATE partition SET isr = '{1}', elr = '{2}' WHERE partition = 2`)
			c.end(t, b2, s)
			b2.reborn(t, s)
			ps := snapshot(t, s).Topics[id].Partitions
			if p := ps[0]; p.Leader != 1 || !slices.Equal(p.ISR, c.shared) || !slices.Equal(p.ELR, c.eligible) {
				t.Errorf("shared: %+v", p)
			}
			if p := ps[1]; p.Leader != metadata.NoBroker || !slices.Equal(p.ISR, ids{2}) {
				t.Errorf("the only one: %+v", p)
			}
			if p := ps[2]; p.Leader != 1 || !slices.Equal(p.ELR, c.eligible) {
				t.Errorf("eligible: %+v", p)
			}
		})
	}
}

func unregister(t *testing.T, b *broker, s metadata.Membership) {
	t.Helper()
	if err := s.Unregister(t.Context(), b.ID, b.epoch); err != nil {
		t.Fatal(err)
	}
}

// Another min.insync.replicas makes what the old one says of eligible replicas worthless.
func TestMinISRClearsELR(t *testing.T) {
	two := "2"
	for name, res := range map[string]metadata.ConfigResource{"topic": {Topic: "flights"}, "cluster": {Broker: metadata.NoBroker}} {
		t.Run(name, func(t *testing.T) {
			url := testpg.URL(t)
			s := openURL(t, url)
			newBroker(1).join(t, s)
			newBroker(2).join(t, s)
			id, other := topic(t, s, "flights", ids{2, 1}), topic(t, s, "other", ids{2, 1})
			exec(t, connect(t, url), `UPDATE partition SET isr = '{2}', elr = '{1}', last_known_elr = '{1}'`)
			alter(t, s, res, metadata.ConfigEdit{Name: "retention.ms", Value: &two})
			if p := snapshot(t, s).Topics[id].Partitions[0]; len(p.ELR) != 1 {
				t.Errorf("another setting: %+v", p)
			}
			alter(t, s, res, metadata.ConfigEdit{Name: "min.insync.replicas", Value: &two})
			im := snapshot(t, s)
			if p := im.Topics[id].Partitions[0]; len(p.ELR)+len(p.LastKnownELR) != 0 || p.PartitionEpoch != 1 {
				t.Errorf("%+v", p)
			}
			if p := im.Topics[other].Partitions[0]; (len(p.ELR) == 0) != (name == "cluster") {
				t.Errorf("other topic: %+v", p)
			}
		})
	}
}

// A replica whose disk was lost may be put on a new one, and then is eligible for nothing: it is empty.
func TestNewDiskIsNotEligible(t *testing.T) {
	url := testpg.URL(t)
	s := openURL(t, url)
	newBroker(1).join(t, s)
	b2 := newBroker(2).join(t, s)
	tp := metadata.TopicPartition{TopicID: topic(t, s, "flights", ids{1, 2})}
	exec(t, connect(t, url), `UPDATE partition SET isr = '{1}', elr = '{2}', dirs[2] = $1`, uuid.New())
	if err := assignDir(t, s, tp, 2, b2.Dirs[0]); err != nil {
		t.Fatal(err)
	}
	if p := snapshot(t, s).Partition(tp); len(p.ELR) != 0 {
		t.Errorf("%+v", p)
	}
}

// The death of a broker with 10,000 partitions moves their leaders in one transaction of less than a second; 250 ms
// are aimed at.
func TestTenThousandElections(t *testing.T) {
	if testing.Short() {
		t.Skip("creates 10,000 partitions")
	}
	url := testpg.URL(t)
	s := openURL(t, url)
	brokers := []*broker{newBroker(1).join(t, s), newBroker(2).join(t, s), newBroker(3).join(t, s)}
	assignment := make([][]metadata.BrokerID, 1000)
	for i := range assignment {
		assignment[i] = ids{metadata.BrokerID(i%3 + 1), metadata.BrokerID((i+1)%3 + 1), metadata.BrokerID((i+2)%3 + 1)}
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		topic(t, s, name, assignment...)
	}
	exec(t, connect(t, url), `UPDATE partition SET dirs = ARRAY[$1, $2, $3]::uuid[] WHERE replicas[1] = 1`, brokers[0].Dirs[0], brokers[1].Dirs[0], brokers[2].Dirs[0])
	exec(t, connect(t, url), `ANALYZE`)
	epoch := acquire(t, s, 2, time.Minute)
	pass(t, s, epoch)
	brokers[0].beat(t, s, time.Nanosecond)
	began := time.Now()
	if n, err := s.ControllerPass(t.Context(), epoch); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	took := time.Since(began)
	t.Logf("a pass that fences a broker with 10,000 partitions: %v", took)
	if took > time.Second {
		t.Errorf("%v, more than a second", took)
	}
	leaders := map[metadata.BrokerID]int{}
	for _, topic := range snapshot(t, s).Topics {
		for _, p := range topic.Partitions {
			leaders[p.Leader]++
			if len(p.ISR) != 2 || slices.Contains(p.ISR, 1) {
				t.Fatalf("%+v", p)
			}
		}
	}
	if leaders[1] != 0 || leaders[2]+leaders[3] != 10000 {
		t.Error(leaders)
	}
}
