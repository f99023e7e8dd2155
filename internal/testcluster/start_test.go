package testcluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestThreeBrokers: three brokers are one cluster, and each comes back where it was.
func TestThreeBrokers(t *testing.T) {
	if testing.Short() {
		t.Skip("three brokers")
	}
	c := StartCluster(t, t.TempDir(), 3, Proxies())
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Address(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	brokers := func(want int) func() error {
		return func() error {
			r := kmsg.NewPtrMetadataRequest() // kadm would answer from its cache
			r.Topics = []kmsg.MetadataRequestTopic{}
			m, err := r.RequestWith(t.Context(), cl)
			if err == nil && len(m.Brokers) != want {
				err = fmt.Errorf("brokers %v, want %d", m.Brokers, want)
			}
			return err
		}
	}
	Eventually(t, 10*time.Second, brokers(3))
	before := c.Broker(3).Addr
	c.Broker(3).Kill(t)
	Eventually(t, 20*time.Second, brokers(2))
	c.Broker(3).Start(t)
	if c.Broker(3).Addr != before {
		t.Errorf("broker 3 moved from %s to %s", before, c.Broker(3).Addr)
	}
	Eventually(t, 10*time.Second, brokers(3))
	c.Broker(2).Pause(t)
	Eventually(t, 20*time.Second, brokers(2))
	c.Broker(2).Resume(t)
	Eventually(t, 20*time.Second, brokers(3))
}
