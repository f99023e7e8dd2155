package config

import (
	"math"
	"slices"
)

func brokerNumber(name string, t Type, value string, dynamic bool, low, high int64, doc string) Def {
	return Def{Name: name, Type: t, Default: value, Doc: doc, Broker: true, Dynamic: dynamic, ReadOnly: !dynamic, Check: numbers(name, t, low, high)}
}

func brokerText(name, value, doc string) Def {
	return Def{Name: name, Type: String, Default: value, Doc: doc, Broker: true, ReadOnly: true}
}

func brokerFlag(name, value string, dynamic bool, doc string) Def {
	d := Def{Name: name, Type: Boolean, Default: value, Doc: doc, Broker: true, Dynamic: dynamic, ReadOnly: !dynamic}
	d.Check = d.parses
	return d
}

// brokerTable is the broker settings that Varve honours, those that stand behind topic settings, and those that tools look for.
func brokerTable() []Def {
	return slices.Concat(ownBrokerTable(), behindTopics(), unitTable(), kafkaBrokerTable())
}

// behindTopics makes the broker settings that are defaults of topic settings: bounds and text are the topic setting's.
func behindTopics() []Def {
	var out []Def
	for _, t := range topicTable() {
		if t.TopicOf == "" || t.TopicOf == "varve.upload.max.age.ms" {
			continue
		}
		d := t
		d.Name, d.Topic, d.TopicOf, d.Broker = t.TopicOf, false, "", true
		if len(Units(d.Name)) > 0 {
			d.Default = "" // Kafka's default is that of log.retention.hours and the like, which the topic setting repeats
		}
		d.Doc = "Default of the topic setting " + t.Name + ": " + t.Doc
		out = append(out, d)
	}
	return out
}

// rackAwareSelector is Kafka's class of this name.
const rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

func ownBrokerTable() []Def {
	const anyLong = math.MaxInt64
	durability := Def{Name: "varve.durability", Type: String, Default: "fsync", Broker: true, ReadOnly: true,
		Doc: "fsync: what is acknowledged is on disk; async: in the page cache, as Kafka does.", Check: oneOf("varve.durability", false, "fsync", "async")}
	return []Def{
		brokerText("varve.metadata.url", "", "Postgres that holds the metadata: postgres://user:password@host:port/database."),
		brokerText("varve.bucket.url", "", "Bucket of the tier: s3://, minio:// or file://; empty: no tier."),
		brokerText("varve.http.listen", "127.0.0.1:9644", "Address of metrics and health checks."),
		durability,
		brokerNumber("varve.upload.max.age.ms", Long, "3600000", true, 1, anyLong, "Default of the topic setting of the same name."),
		brokerNumber("varve.tier.cache.bytes", Long, "1073741824", false, 0, anyLong, "Disk cache of chunks that were read from the bucket more than once, in bytes; it lies in the first of log.dirs. 0: none."),
		brokerNumber("varve.log.dir.free.min.bytes", Long, "-1", false, -1, anyLong,
			"Bytes kept free on the volume of each log directory: when there are fewer, segments that are live in the bucket leave the disk before local retention says so, the oldest first. -1: a tenth of the volume, at most 10 GiB."),
		brokerNumber("varve.scrub.interval.ms", Long, "86400000", true, 1, anyLong, "How often each local segment is read to find bytes that the disk did not keep, in ms."),
		brokerNumber("varve.scrub.max.bytes.per.second", Long, "16777216", true, 1, anyLong, "Bytes read per second for that."),
		brokerNumber("varve.tier.cache.memory.bytes", Long, "67108864", false, 0, anyLong, "Memory cache of chunks read from the bucket, in bytes."),
	}
}

func kafkaBrokerTable() []Def {
	const anyInt, anyLong = math.MaxInt32, math.MaxInt64
	return []Def{
		brokerNumber("node.id", Int, "", false, 0, anyInt, "This broker's id, unique in the cluster."),
		brokerText("listeners", "PLAINTEXT://127.0.0.1:9092", "Where clients connect."),
		brokerText("advertised.listeners", "", "What clients are told to connect to; empty: as listeners."),
		{Name: "log.dirs", Type: List, Default: "", Broker: true, ReadOnly: true, Doc: "Directories of the logs, comma-separated."},
		brokerText("broker.rack", "", "Rack of this broker."),
		brokerText("inter.broker.protocol.version", "4.3-IV0", "What tools take as the release."),
		brokerFlag("auto.create.topics.enable", "true", false, "Create a topic when a client asks for its metadata."),
		brokerFlag("delete.topic.enable", "true", false, "Whether topics may be deleted."),
		brokerNumber("num.partitions", Int, "1", false, 1, anyInt, "Partitions of a topic that does not say how many."),
		brokerNumber("default.replication.factor", Int, "1", false, 1, math.MaxInt16, "Replicas of a topic that does not say how many."),
		brokerNumber("socket.request.max.bytes", Int, "104857600", false, 1, anyInt, "Largest request, in bytes."),
		brokerNumber("fetch.max.bytes", Int, "57671680", false, 1024, anyInt, "Most bytes of one fetch."),
		brokerNumber("max.incremental.fetch.session.cache.slots", Int, "1000", false, 0, anyInt, "Fetch sessions kept."),
		brokerNumber("max.connections", Int, "2147483647", true, 0, anyInt, "Connections accepted."),
		brokerNumber("max.connections.per.ip", Int, "2147483647", true, 0, anyInt, "Connections accepted from one address."),
		brokerNumber("connections.max.idle.ms", Long, "600000", false, -1, anyLong, "When an idle connection is closed, in ms."),
		brokerNumber("producer.id.expiration.ms", Int, "86400000", true, 1, anyInt, "When an idle idempotent producer is forgotten, in ms."),
		brokerNumber("transaction.max.timeout.ms", Int, "900000", false, 1, anyInt, "Longest transaction, in ms."),
		brokerNumber("group.min.session.timeout.ms", Int, "6000", false, 1, anyInt, "Shortest session of a group's member, in ms."),
		brokerNumber("group.max.session.timeout.ms", Int, "1800000", false, 1, anyInt, "Longest session of a group's member, in ms."),
		brokerNumber("group.initial.rebalance.delay.ms", Int, "3000", false, 0, anyInt, "How long a new group waits for more members, in ms."),
		brokerNumber("group.max.size", Int, "2147483647", false, 1, anyInt, "Most members of a group."),
		{Name: "group.coordinator.rebalance.protocols", Type: List, Default: "classic,consumer", Broker: true, ReadOnly: true,
			Doc: "Group protocols that clients may use; classic is always one of them.", Check: oneOf("group.coordinator.rebalance.protocols", true, "classic", "consumer")},
		{Name: "group.consumer.assignors", Type: List, Default: "uniform,range", Broker: true, ReadOnly: true,
			Doc: "Assignors of the consumer group protocol, the default first.", Check: oneOf("group.consumer.assignors", true, "uniform", "range")},
		brokerNumber("group.consumer.session.timeout.ms", Int, "45000", false, 1, anyInt, "Session of a member of the consumer group protocol, in ms."),
		brokerNumber("group.consumer.heartbeat.interval.ms", Int, "5000", false, 1, anyInt, "How often members of the consumer group protocol are told to send heartbeats, in ms."),
		brokerNumber("group.consumer.max.size", Int, "2147483647", false, 1, anyInt, "Most members of a group of the consumer group protocol."),
		brokerNumber("offset.metadata.max.bytes", Int, "4096", false, 0, anyInt, "Largest metadata of a committed offset, in bytes."),
		brokerNumber("offsets.retention.minutes", Int, "10080", false, 1, anyInt, "How long an empty group's offsets are kept, in minutes."),
		brokerNumber("offsets.retention.check.interval.ms", Long, "600000", false, 1, anyLong, "How often expired offsets are looked for, in ms."),
		brokerNumber("offsets.commit.timeout.ms", Int, "5000", false, 1, anyInt, "How long a commit waits for Postgres, in ms."),
		brokerNumber("broker.session.timeout.ms", Int, "9000", false, 1, anyInt, "After how long without a heartbeat a broker is fenced, in ms."),
		brokerNumber("broker.heartbeat.interval.ms", Int, "2000", false, 1, anyInt, "How often a broker says that it lives, in ms."),
		{Name: "replica.selector.class", Type: String, Default: "", Broker: true, ReadOnly: true,
			Doc:   "Which replica consumers are sent to: " + rackAwareSelector + " prefers one on the consumer's rack (client.rack), empty is the leader.",
			Check: oneOf("replica.selector.class", false, "", rackAwareSelector, "org.apache.kafka.common.replica.LeaderSelector")},
		brokerNumber("replica.lag.time.max.ms", Long, "10000", false, 1, anyLong, "How long a follower may lack records before it leaves the in-sync replicas, in ms."),
		brokerNumber("replica.fetch.wait.max.ms", Int, "500", false, 1, anyInt, "How long a follower's fetch waits for records, in ms."),
		brokerNumber("replica.fetch.max.bytes", Int, "1048576", false, 1, anyInt, "Bytes of one partition in an answer to a follower; a larger batch comes all the same."),
		brokerNumber("replica.fetch.response.max.bytes", Int, "10485760", false, 1, anyInt, "Bytes of one answer to a follower."),
		brokerNumber("num.replica.fetchers", Int, "1", false, 1, 1000, "Connections over which the partitions of one leader are copied."),
		brokerFlag("auto.leader.rebalance.enable", "true", false, "Give leadership back to preferred leaders when brokers lead too little."),
		brokerNumber("leader.imbalance.check.interval.seconds", Long, "300", false, 1, math.MaxInt64/1_000_000_000, "How often it is looked for, in seconds."),
		brokerNumber("leader.imbalance.per.broker.percentage", Int, "10", false, 0, 100, "How many of 100 partitions that prefer a broker may be led by others."),
		brokerNumber("log.cleaner.backoff.ms", Long, "15000", true, 0, anyLong, "Pause of the cleaner when no log is due to be compacted, in ms."),
		brokerNumber("log.cleaner.dedupe.buffer.size", Long, "134217728", true, 1<<20, anyLong, "Memory for the keys of one pass of compaction, in bytes: 128 MiB are enough for 2.9 million keys."),
		brokerNumber("log.cleaner.threads", Int, "1", true, 1, 1, "Logs compacted at a time."),
		{Name: "log.cleaner.io.max.bytes.per.second", Type: Double, Default: "1.7976931348623157E308", Broker: true, Dynamic: true,
			Doc: "Bytes that compaction reads and writes per second, together.", Check: positive("log.cleaner.io.max.bytes.per.second")},
		brokerNumber("leader.replication.throttled.rate", Long, "9223372036854775807", true, 0, anyLong,
			"Bytes per second that this broker sends to followers, of the replicas in leader.replication.throttled.replicas of their topics. A replica in sync is never throttled."),
		brokerNumber("follower.replication.throttled.rate", Long, "9223372036854775807", true, 0, anyLong,
			"Bytes per second that this broker fetches as a follower, of the replicas in follower.replication.throttled.replicas of their topics. A replica in sync is never throttled."),
		brokerNumber("log.retention.check.interval.ms", Long, "300000", false, 1, anyLong, "How often retention is applied, in ms."),
		brokerNumber("remote.log.manager.task.interval.ms", Long, "30000", false, 1, anyLong, "How often sealed segments are looked for, in ms."),
	}
}
