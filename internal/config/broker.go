package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Broker is a broker's effective configuration, parsed. It is immutable: WithDynamic makes a new one.
type Broker struct {
	NodeID                         int32
	Listen                         string // of listeners: host:port
	Advertised                     string // of advertised.listeners: host:port
	HTTPListen                     string // varve.http.listen
	LogDirs                        []string
	MetadataURL                    string // varve.metadata.url
	BucketURL                      string // varve.bucket.url, empty: no tier
	Rack                           string
	Durability                     string // varve.durability: fsync | async
	AutoCreateTopics               bool
	NumPartitions                  int32
	DefaultReplicationFactor       int32
	SocketRequestMaxBytes          int32
	FetchMaxBytes                  int32
	FetchSessionSlots              int32 // max.incremental.fetch.session.cache.slots
	MaxConnections                 int32
	ProducerIDExpirationMs         int64
	TransactionMaxTimeoutMs        int64
	GroupMinSessionTimeoutMs       int64
	GroupMaxSessionTimeoutMs       int64
	GroupInitialRebalanceDelay     time.Duration
	GroupMaxSize                   int32
	GroupProtocols                 []string // group.coordinator.rebalance.protocols
	GroupConsumerAssignors         []string
	GroupConsumerSessionTimeout    time.Duration
	GroupConsumerHeartbeatInterval time.Duration
	GroupConsumerMaxSize           int32
	OffsetMetadataMaxBytes         int32
	OffsetsRetentionMinutes        int64
	OffsetsRetentionCheck          time.Duration // offsets.retention.check.interval.ms
	OffsetsCommitTimeoutMs         int64
	BrokerSessionTimeout           time.Duration
	BrokerHeartbeatInterval        time.Duration
	RetentionCheckInterval         time.Duration // log.retention.check.interval.ms
	TierTaskInterval               time.Duration // remote.log.manager.task.interval.ms
	TierCacheBytes                 int64         // varve.tier.cache.bytes, on disk
	TierCacheMemoryBytes           int64         // varve.tier.cache.memory.bytes
	LogDirFreeMinBytes             int64         // varve.log.dir.free.min.bytes, negative: by the size of the volume
	DeleteTopicEnable              bool
	ImbalanceCheckInterval         time.Duration // leader.imbalance.check.interval.seconds; 0: auto.leader.rebalance.enable is false
	ImbalancePercentage            int32         // leader.imbalance.per.broker.percentage
	ScrubInterval                  time.Duration // varve.scrub.interval.ms
	ScrubBytesPerSecond            float64       // varve.scrub.max.bytes.per.second
	ReplicaLagTimeMax              time.Duration // replica.lag.time.max.ms
	ReplicaFetchWaitMax            time.Duration // replica.fetch.wait.max.ms
	ReplicaFetchMaxBytes           int32         // replica.fetch.max.bytes
	ReplicaFetchResponseMaxBytes   int32         // replica.fetch.response.max.bytes
	RackAwareReads                 bool          // replica.selector.class is RackAwareReplicaSelector
	NumReplicaFetchers             int32         // num.replica.fetchers
	CleanerBackoff                 time.Duration // log.cleaner.backoff.ms
	CleanerMapBytes                int64         // log.cleaner.dedupe.buffer.size
	CleanerBytesPerSecond          float64       // log.cleaner.io.max.bytes.per.second
	LeaderThrottledRate            int64         // leader.replication.throttled.rate, bytes per second for the replicas in Topic.LeaderThrottled
	FollowerThrottledRate          int64         // follower.replication.throttled.rate, for those in Topic.FollowerThrottled

	values map[string]string // what was set
}

// NewBroker parses the settings given by file and environment. Unknown keys and bad values are errors that name the key.
func NewBroker(set map[string]string) (*Broker, error) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d, ok := BrokerDef(name)
		if !ok {
			return nil, fmt.Errorf("unknown setting %s: see docs for the names that Varve knows", name)
		}
		if d.Check == nil {
			continue
		}
		if err := d.Check(set[name]); err != nil {
			return nil, err
		}
	}
	b := &Broker{values: maps.Clone(set)}
	if err := b.parse(); err != nil {
		return nil, err
	}
	return b, nil
}

// parse fills the fields from the values, which are checked.
func (b *Broker) parse() error {
	text := func(name string) string { v, _ := b.Value(name); return v }
	number := func(name string) int64 { n, _ := strconv.ParseInt(text(name), 10, 64); return n }
	b.ScrubBytesPerSecond = float64(number("varve.scrub.max.bytes.per.second"))
	b.CleanerBytesPerSecond, _ = strconv.ParseFloat(text("log.cleaner.io.max.bytes.per.second"), 64)
	var err error
	if b.Listen, err = address("listeners", text("listeners")); err != nil {
		return err
	}
	b.Advertised = b.Listen
	if v := text("advertised.listeners"); v != "" {
		if b.Advertised, err = address("advertised.listeners", v); err != nil {
			return err
		}
	}
	b.NodeID = int32(number("node.id"))
	b.HTTPListen, b.LogDirs = text("varve.http.listen"), splitList(text("log.dirs"))
	b.MetadataURL, b.BucketURL = text("varve.metadata.url"), text("varve.bucket.url")
	b.GroupProtocols, b.GroupConsumerAssignors = splitList(text("group.coordinator.rebalance.protocols")), splitList(text("group.consumer.assignors"))
	b.RackAwareReads = text("replica.selector.class") == rackAwareSelector
	b.Rack, b.Durability = text("broker.rack"), text("varve.durability")
	b.AutoCreateTopics, b.DeleteTopicEnable = text("auto.create.topics.enable") == "true", text("delete.topic.enable") == "true"
	if text("auto.leader.rebalance.enable") == "true" {
		b.ImbalanceCheckInterval = time.Duration(number("leader.imbalance.check.interval.seconds")) * time.Second
	}
	for name, field := range map[string]*int32{
		"num.partitions": &b.NumPartitions, "default.replication.factor": &b.DefaultReplicationFactor,
		"socket.request.max.bytes": &b.SocketRequestMaxBytes, "fetch.max.bytes": &b.FetchMaxBytes,
		"max.incremental.fetch.session.cache.slots": &b.FetchSessionSlots, "max.connections": &b.MaxConnections,
		"replica.fetch.max.bytes": &b.ReplicaFetchMaxBytes, "replica.fetch.response.max.bytes": &b.ReplicaFetchResponseMaxBytes,
		"leader.imbalance.per.broker.percentage": &b.ImbalancePercentage,
		"num.replica.fetchers":                   &b.NumReplicaFetchers, "group.max.size": &b.GroupMaxSize, "group.consumer.max.size": &b.GroupConsumerMaxSize, "offset.metadata.max.bytes": &b.OffsetMetadataMaxBytes,
	} {
		*field = int32(number(name))
	}
	for name, field := range map[string]*int64{
		"producer.id.expiration.ms": &b.ProducerIDExpirationMs, "transaction.max.timeout.ms": &b.TransactionMaxTimeoutMs,
		"group.min.session.timeout.ms": &b.GroupMinSessionTimeoutMs, "group.max.session.timeout.ms": &b.GroupMaxSessionTimeoutMs,
		"offsets.retention.minutes": &b.OffsetsRetentionMinutes, "offsets.commit.timeout.ms": &b.OffsetsCommitTimeoutMs,
		"varve.tier.cache.bytes": &b.TierCacheBytes, "varve.tier.cache.memory.bytes": &b.TierCacheMemoryBytes,
		"varve.log.dir.free.min.bytes": &b.LogDirFreeMinBytes, "log.cleaner.dedupe.buffer.size": &b.CleanerMapBytes,
		"leader.replication.throttled.rate": &b.LeaderThrottledRate, "follower.replication.throttled.rate": &b.FollowerThrottledRate,
	} {
		*field = number(name)
	}
	for name, field := range map[string]*time.Duration{
		"group.consumer.session.timeout.ms": &b.GroupConsumerSessionTimeout, "group.consumer.heartbeat.interval.ms": &b.GroupConsumerHeartbeatInterval,
		"group.initial.rebalance.delay.ms": &b.GroupInitialRebalanceDelay, "broker.session.timeout.ms": &b.BrokerSessionTimeout,
		"broker.heartbeat.interval.ms": &b.BrokerHeartbeatInterval, "log.retention.check.interval.ms": &b.RetentionCheckInterval,
		"remote.log.manager.task.interval.ms": &b.TierTaskInterval, "log.cleaner.backoff.ms": &b.CleanerBackoff,
		"offsets.retention.check.interval.ms": &b.OffsetsRetentionCheck,
		"varve.scrub.interval.ms":             &b.ScrubInterval, "replica.lag.time.max.ms": &b.ReplicaLagTimeMax, "replica.fetch.wait.max.ms": &b.ReplicaFetchWaitMax,
	} {
		*field = milliseconds(number(name))
	}
	return nil
}

// address takes host:port out of a listener, with or without the PLAINTEXT:// in front. One listener is served.
func address(name, value string) (string, error) {
	if strings.Contains(value, ",") {
		return "", &InvalidValueError{name, value, "Varve serves one listener"}
	}
	if scheme, rest, ok := strings.Cut(value, "://"); ok {
		if scheme != "PLAINTEXT" {
			return "", &InvalidValueError{name, value, "Varve serves PLAINTEXT listeners only"}
		}
		value = rest
	}
	if !strings.Contains(value, ":") {
		return "", &InvalidValueError{name, value, "Expected host:port"}
	}
	return value, nil
}

// Value returns the effective value of a broker setting and whether it was set (not the default).
func (b *Broker) Value(name string) (value string, set bool) {
	if v, ok := b.values[name]; ok {
		return v, true
	}
	d := brokers.byName[name]
	return d.Default, false
}

// WithDynamic returns a copy with dynamic broker configurations applied: first the cluster's default, then the broker's own. Values that
// are not acceptable (stored by a newer release, say) and settings that are fixed are left out.
func (b *Broker) WithDynamic(clusterDefault, own map[string]string) *Broker {
	next := *b
	next.values = maps.Clone(b.values)
	if next.values == nil {
		next.values = map[string]string{}
	}
	for _, layer := range []map[string]string{clusterDefault, own} {
		for name, v := range layer {
			d, ok := BrokerDef(name)
			if ok && d.Dynamic && (d.Check == nil || d.Check(v) == nil) {
				next.values[name] = v
			}
		}
	}
	if err := next.parse(); err != nil {
		return b
	}
	return &next
}
