package config

import "math"

const (
	minSegmentBytes = 1 << 20 // since Kafka 4.0
	mib             = 1 << 20
)

// topicNumber defines a whole-number topic setting with bounds [low, high].
func topicNumber(name string, t Type, behind, value string, low, high int64, doc string) Def {
	return Def{Name: name, Type: t, Default: value, Doc: doc, Topic: true, TopicOf: behind, Dynamic: true, Check: numbers(name, t, low, high)}
}

func topicFlag(name, behind, value, doc string) Def {
	d := Def{Name: name, Type: Boolean, Default: value, Doc: doc, Topic: true, TopicOf: behind, Dynamic: true}
	d.Check = d.parses
	return d
}

func topicChoice(name string, t Type, behind, value, doc string, allowed ...string) Def {
	return Def{Name: name, Type: t, Default: value, Doc: doc, Topic: true, TopicOf: behind, Dynamic: true, Check: oneOf(name, t == List, allowed...)}
}

// topicTable is every topic setting of Kafka 4.3, and Varve's own.
func topicTable() []Def {
	const anyInt, anyLong = math.MaxInt32, math.MaxInt64
	throttled := func(name, doc string) Def {
		return Def{Name: name, Type: List, Doc: doc, Topic: true, Dynamic: true, Check: throttledReplicas(name)}
	}
	return []Def{
		topicChoice("cleanup.policy", List, "log.cleanup.policy", "delete", "What happens to old segments: delete drops them after the retention, compact keeps the last record of each key.", "compact", "delete"),
		topicNumber("compression.gzip.level", Int, "compression.gzip.level", "-1", -1, 9, "Level of gzip when the broker compresses."),
		topicNumber("compression.lz4.level", Int, "compression.lz4.level", "9", 1, 17, "Level of lz4 when the broker compresses."),
		topicChoice("compression.type", String, "compression.type", "producer", "Codec of what is written: producer keeps the client's.", "uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		topicNumber("compression.zstd.level", Int, "compression.zstd.level", "3", -131072, 22, "Level of zstd when the broker compresses."),
		topicNumber("delete.retention.ms", Long, "log.cleaner.delete.retention.ms", "86400000", 0, anyLong, "How long tombstones stay in a compacted topic, in ms."),
		topicNumber("file.delete.delay.ms", Long, "log.segment.delete.delay.ms", "60000", 0, anyLong, "Delay before a deleted partition's files go, in ms."),
		topicNumber("flush.messages", Long, "log.flush.interval.messages", "9223372036854775807", 1, anyLong, "Accepted for Kafka's sake: Varve syncs before it acknowledges (varve.durability)."),
		topicNumber("flush.ms", Long, "", "9223372036854775807", 0, anyLong, "Accepted for Kafka's sake: Varve syncs before it acknowledges (varve.durability)."),
		throttled("follower.replication.throttled.replicas", "Replicas that follower.replication.throttled.rate is for: partition:broker,... or * for all."),
		topicNumber("index.interval.bytes", Int, "log.index.interval.bytes", "4096", 0, anyInt, "Bytes between two entries of the offset index."),
		throttled("leader.replication.throttled.replicas", "Replicas that leader.replication.throttled.rate is for: partition:broker,... or * for all."),
		topicNumber("local.retention.bytes", Long, "log.local.retention.bytes", "-2", -2, anyLong, "Bytes kept on local disk of what is in the bucket already; -2: as retention.bytes."),
		topicNumber("local.retention.ms", Long, "log.local.retention.ms", "-2", -2, anyLong, "How long local copies of uploaded segments stay, in ms; -2: a day, or retention.ms if shorter."),
		topicNumber("max.compaction.lag.ms", Long, "log.cleaner.max.compaction.lag.ms", "9223372036854775807", 1, anyLong, "Longest time that a record stays uncompacted, in ms."),
		topicNumber("max.message.bytes", Int, "message.max.bytes", "1048588", 0, anyInt, "Largest record batch accepted, in bytes."),
		topicNumber("message.timestamp.after.max.ms", Long, "log.message.timestamp.after.max.ms", "3600000", 0, anyLong, "How far in the future a record's timestamp may lie, in ms."),
		topicNumber("message.timestamp.before.max.ms", Long, "log.message.timestamp.before.max.ms", "9223372036854775807", 0, anyLong, "How far in the past a record's timestamp may lie, in ms."),
		topicChoice("message.timestamp.type", String, "log.message.timestamp.type", "CreateTime", "Whose clock stamps the records: the producer's or the broker's.", "CreateTime", "LogAppendTime"),
		{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", TopicOf: "log.cleaner.min.cleanable.ratio", Topic: true, Dynamic: true, Doc: "Share of uncompacted bytes from which a log is compacted.", Check: ratio("min.cleanable.dirty.ratio")},
		topicNumber("min.compaction.lag.ms", Long, "log.cleaner.min.compaction.lag.ms", "0", 0, anyLong, "Shortest time that a record stays uncompacted, in ms."),
		topicNumber("min.insync.replicas", Int, "min.insync.replicas", "1", 1, anyInt, "Replicas that must be in sync for acks=all."),
		topicFlag("preallocate", "log.preallocate", "false", "Accepted for Kafka's sake: Varve writes ahead of the end of a log where that pays, up to 128 KiB."),
		topicFlag("remote.log.copy.disable", "", "false", "Stop uploading new segments; what is in the bucket stays readable."),
		topicFlag("remote.log.delete.on.disable", "", "false", "Delete the topic's objects when remote storage is switched off."),
		topicFlag("remote.storage.enable", "", "false", "Keep the topic's history in the bucket. Without a setting of its own a topic is tiered when the broker has a bucket and the topic is not compacted."),
		topicNumber("retention.bytes", Long, "log.retention.bytes", "-1", -1, anyLong, "Bytes kept per partition over both tiers; -1: no limit."),
		topicNumber("retention.ms", Long, "log.retention.ms", "604800000", -1, anyLong, "How long records are kept over both tiers, in ms; -1: for ever."),
		topicNumber("segment.bytes", Int, "log.segment.bytes", "1073741824", minSegmentBytes, anyInt, "Size at which a segment is sealed, in bytes."),
		topicNumber("segment.index.bytes", Int, "log.index.size.max.bytes", "10485760", 4, anyInt, "Size at which an index is full, in bytes."),
		topicNumber("segment.jitter.ms", Long, "", "0", 0, anyLong, "Random part by which segment.ms is shortened, in ms."),
		topicNumber("segment.ms", Long, "", "604800000", 1, anyLong, "Age at which a segment is sealed, in ms."),
		topicFlag("unclean.leader.election.enable", "unclean.leader.election.enable", "false", "Whether a replica that may lack records can become leader; after a lost disk it rebuilds from the bucket."),
		topicNumber("varve.upload.max.age.ms", Long, "varve.upload.max.age.ms", "3600000", 1, anyLong, "Age by the wall clock at which a quiet segment is sealed so that it reaches the bucket, in ms."),
		func() Def {
			d := topicNumber("internal.segment.bytes", Int, "", "", 1, anyInt, "Segments below segment.bytes' minimum, for tests.")
			d.Hidden = true
			return d
		}(),
	}
}
