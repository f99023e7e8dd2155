package postgres_test

import (
	"testing"
	"time"

	"varve/internal/testpg"
	"varve/metadata"
)

// The controller gives leadership back to the preferred leaders of a broker that leads too little, and without being
// told to, it does not.
func TestBalance(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	often := func(c *metadata.NodeConfig) {
		c.Balance = metadata.Balance{Interval: 50 * time.Millisecond, Percentage: 10}
	}
	m1 := startMember(t, url, newBroker(1).Registration)
	m1.eventually(t, "controller", controlledBy(1))
	m2 := startMember(t, url, newBroker(2).Registration, often)
	id := topic(t, m1.store, "flights", ids{2, 1}, ids{2, 1}, ids{1, 2})
	exec(t, connect(t, url), `UPDATE partition SET leader = 1`)
	led := func(by metadata.BrokerID) func(im *metadata.Image) bool {
		return func(im *metadata.Image) bool {
			return im.Topics[id] != nil && im.Topics[id].Partitions[0].Leader == by && im.Topics[id].Partitions[1].Leader == by
		}
	}
	other := topic(t, m1.store, "other", ids{1, 2}) // moves the version
	m2.eventually(t, "both led by 1", func(im *metadata.Image) bool { return led(1)(im) && im.Topics[other] != nil })
	if im := snapshot(t, m1.store); !led(1)(im) {
		t.Error("balanced by a controller that shall not, or by one that is not the controller")
	}
	m1.stop() // its lease ends long before its session
	m2.eventually(t, "led by 2", led(2))
	if im := m2.publisher.Image(); !im.Live(1) || im.Controller != 2 {
		t.Errorf("not by the balance: %+v", im.Brokers[1])
	}
}
