// Package config is the one table of Kafka's and Varve's settings: name, type, default, bounds, scope, documentation. It feeds the
// configuration file and environment loader, DescribeConfigs, the checks of AlterConfigs and the generated docs/configuration.md.
package config

// CONTRACT (skeleton). Owner: cmd room. A leaf: imports nothing of varve.

import "time"

// Type is the wire type of a configuration value (DescribeConfigs v3+ config types).
type Type int8

const (
	Boolean Type = iota + 1
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

// Def describes one setting.
type Def struct {
	Name     string
	Type     Type
	Default  string
	Doc      string
	Topic    bool   // a topic configuration
	Broker   bool   // a broker configuration
	TopicOf  string // for a topic setting: the broker setting that is its default (log.segment.bytes for segment.bytes), empty: none
	Dynamic  bool   // may change without a restart
	ReadOnly bool
	// Check reports why a value is not acceptable, nil when it is.
	Check func(value string) error
}

// TopicDefs and BrokerDefs list the settings of each scope by name.
func TopicDefs() []Def  { panic("unbuilt") }
func BrokerDefs() []Def { panic("unbuilt") }

// Lookup finds a setting.
func TopicDef(name string) (Def, bool)  { panic("unbuilt") }
func BrokerDef(name string) (Def, bool) { panic("unbuilt") }

// CheckTopic validates overrides of a topic in themselves and against each other (unknown keys, bounds, local.retention against
// retention, remote storage with compact). The message is what Kafka would say; INVALID_CONFIG is the caller's.
func CheckTopic(overrides map[string]string) error { panic("unbuilt") }

// Topic is a topic's effective configuration, parsed.
type Topic struct {
	CleanupCompact, CleanupDelete bool
	CompressionType               string // producer, uncompressed, gzip, snappy, lz4, zstd
	MaxMessageBytes               int32
	MessageTimestampAppend        bool // LogAppendTime
	TimestampBeforeMax            time.Duration
	TimestampAfterMax             time.Duration
	MinInsyncReplicas             int32
	UncleanLeaderElection         bool
	RetentionMs, RetentionBytes   int64 // -1: unlimited
	LocalRetentionMs              int64 // resolved: never -2 (decisions 17)
	LocalRetentionBytes           int64
	RemoteStorage                 bool // tiered
	SegmentBytes                  int64
	SegmentMs, SegmentJitterMs    int64
	IndexIntervalBytes            int64
	SegmentIndexBytes             int64
	FileDeleteDelayMs             int64
	UploadMaxAgeMs                int64 // varve.upload.max.age.ms
}

// Broker is a broker's effective configuration, parsed.
type Broker struct {
	NodeID                     int32
	Listen                     string // listeners: host:port, PLAINTEXT
	Advertised                 string // advertised.listeners
	HTTPListen                 string // varve.http.listen
	LogDirs                    []string
	MetadataURL                string // varve.metadata.url
	BucketURL                  string // varve.bucket.url, empty: no tier
	Rack                       string
	Durability                 string // varve.durability: fsync | async
	AutoCreateTopics           bool
	NumPartitions              int32
	DefaultReplicationFactor   int32
	SocketRequestMaxBytes      int32
	FetchMaxBytes              int32
	FetchSessionSlots          int32 // max.incremental.fetch.session.cache.slots
	MaxConnections             int32
	ProducerIDExpirationMs     int64
	TransactionMaxTimeoutMs    int64
	GroupMinSessionTimeoutMs   int64
	GroupMaxSessionTimeoutMs   int64
	GroupInitialRebalanceDelay time.Duration
	GroupMaxSize               int32
	OffsetMetadataMaxBytes     int32
	OffsetsRetentionMinutes    int64
	OffsetsCommitTimeoutMs     int64
	BrokerSessionTimeout       time.Duration
	BrokerHeartbeatInterval    time.Duration
	RetentionCheckInterval     time.Duration // log.retention.check.interval.ms
	TierTaskInterval           time.Duration // remote.log.manager.task.interval.ms
	TierCacheBytes             int64         // varve.tier.cache.bytes, on disk
	TierCacheMemoryBytes       int64         // varve.tier.cache.memory.bytes
	DeleteTopicEnable          bool
	values                     map[string]string // what was set, for Topic defaults and DescribeConfigs
}

// NewBroker parses the settings given by file and environment. Unknown keys and bad values are errors that name the key.
func NewBroker(set map[string]string) (*Broker, error) { panic("unbuilt") }

// Value returns the effective value of a broker setting and whether it was set (not the default).
func (b *Broker) Value(name string) (value string, set bool) { panic("unbuilt") }

// WithDynamic returns a copy with dynamic broker configurations applied: first the cluster default, then the broker's own.
func (b *Broker) WithDynamic(clusterDefault, own map[string]string) *Broker { panic("unbuilt") }

// Topic resolves a topic's configuration: overrides over the broker's defaults over Kafka's. Invalid stored values fall back to the default.
func (b *Broker) Topic(overrides map[string]string) *Topic { panic("unbuilt") }

// TopicValue returns the effective value of one topic setting as text.
func (b *Broker) TopicValue(overrides map[string]string, name string) string { panic("unbuilt") }
