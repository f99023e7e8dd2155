package config

import (
	"math"
	"testing"
)

func TestThrottledReplicas(t *testing.T) {
	const name = "leader.replication.throttled.replicas"
	for value, good := range map[string]bool{
		"": true, "*": true, "0:1": true, "0:1,0:2": true, " 0:1, 0:2 ": true, "0:1,": true,
		"0": false, "a:b": false, "0:1,*": false, "-1:2": false, "0:1:2": false, "0:99999999999": false, ",": true,
	} {
		if err := CheckTopic(map[string]string{name: value}); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
	b := &Broker{}
	topic := b.Topic(map[string]string{name: "00:1, 2:3", "follower.replication.throttled.replicas": "*"})
	if r := topic.LeaderThrottled; !r.Has(0, 1) || !r.Has(2, 3) || r.Has(0, 3) || r.Has(1, 1) {
		t.Error(r)
	}
	if !topic.FollowerThrottled.Has(7, 8) || b.Topic(nil).LeaderThrottled.Has(0, 0) {
		t.Error("* is all, and no setting is none")
	}
}

// The rates follow what is set while the broker runs, as kafka-reassign-partitions --throttle does.
func TestThrottledRatesAreDynamic(t *testing.T) {
	b, err := NewBroker(map[string]string{"node.id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	if b.LeaderThrottledRate != math.MaxInt64 || b.FollowerThrottledRate != math.MaxInt64 {
		t.Error(b.LeaderThrottledRate, b.FollowerThrottledRate)
	}
	set := b.WithDynamic(map[string]string{"leader.replication.throttled.rate": "1000"}, map[string]string{"follower.replication.throttled.rate": "2000"})
	if set.LeaderThrottledRate != 1000 || set.FollowerThrottledRate != 2000 {
		t.Error(set.LeaderThrottledRate, set.FollowerThrottledRate)
	}
}
