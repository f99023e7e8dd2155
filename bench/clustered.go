package main

// clustered are the measures of three brokers on this machine.
func clustered() []measure {
	all := []string{"varve", "varve-async", "kafka", "kafka-syncing"}
	return []measure{
		{"rf3-produce", all, "three brokers, acks=all, three replicas, min.insync.replicas=2, 8 partitions, 1 KiB records in batches of 256 KiB, " +
			"4 connections to each broker, 5 in flight on each; CPU of all brokers together", nil, rf3Produce},
		{"rf3-paced", all, "the same at 10 MB/s in batches of 16 KiB, open loop", nil, rf3Paced},
		{"failover", all, "kill -9 of a broker that is not the controller: " + probing, nil, gapsOf(killed, false)},
		{"failover-controller", all, "the same when it is the controller", nil, gapsOf(killed, true)},
		{"cleanstop", all, "SIGTERM to a broker that is not the controller, in the same way", nil, gapsOf(stopped, false)},
		{"sigstop", all, "SIGSTOP of a broker that is not the controller, SIGCONT after 15 s, in the same way", nil, gapsOf(suspended, false)},
		{"rejoin", []string{"varve"}, "a broker whose disk is emptied comes back under its node id: from exec to all 8 partitions of a topic with " +
			"three replicas in sync, by MB of the topic in the bucket; there is 32 MiB or less of each partition on the local disks", nil, rejoin},
		{"pgload", []string{"varve"}, "transactions of Postgres per broker and second: with partitions (three replicas) that nobody uses, and while 10 MB/s " +
			"are produced in batches of 16 KiB; the watching itself makes one in all", nil, pgload},
		{"elect-10k", []string{"varve", "kafka"}, "kill -9 of a broker that is not the controller, until Metadata of a surviving one names other leaders for all that it led (first: for one of them); fenced: what a Varve broker logged", nil, elect},
	}
}

const probing = "every partition (three replicas, min.insync.replicas=2, acks=all) gets one small record about every 50 ms, 20 partitions a client, one connection from each " +
	"client to each broker, one request in flight; after an error or a move of the leader it pauses 10 ms, asks a surviving broker for Metadata, and takes current leaders " +
	"from answers (KIP-951); longest time without an acknowledgement, median and worst of the partitions that the broker led and of those that it followed, " +
	"and the mean time between two acknowledgements before the fault"
