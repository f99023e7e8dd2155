package main

// clustered are the measures of three brokers on this machine.
func clustered() []measure {
	all := []string{"varve", "varve-async", "kafka", "kafka-syncing"}
	return []measure{
		{"rf3-produce", all, "three brokers, acks=all, three replicas, min.insync.replicas=2, 8 partitions, 1 KiB records in batches of 256 KiB, " +
			"4 connections to each broker, 5 in flight on each; CPU of all brokers together", nil, rf3Produce},
		{"rf3-paced", all, "the same at 10 MB/s in batches of 16 KiB, open loop", nil, rf3Paced},
	}
}
