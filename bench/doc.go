// Command bench measures Varve and a real Apache Kafka side by side on this machine: the same raw-protocol client, the two brokers
// alternately, pre-touched memory before every run, medians of several pairs.
//
//	make bench                       all measures, five pairs, docs/benchmarks.md
//	go run ./bench -measures produce -pairs 3
//
// The client (client.go) speaks the protocol on plain sockets and sends frames that were built before the clock started,
// so that a client library is never the limit. Broker CPU is read from /proc/PID/stat around the measured part only; Postgres, which
// Varve needs and which no record passes through, is a process of its own and is not counted.
//
// Kafka runs from the kit in testdata/kafka, as it comes and with flush.messages=1 ("syncing"), which is what Varve promises by
// default. Both brokers run one at a time: never two at once on a small machine.
//
// The measures of clusters (clustered.go) run three brokers of one system at a time: of Varve with a Postgres and a file:// bucket, of Kafka
// as brokers and controllers at once. Every topic's assignment is given, so that all systems lead and follow alike. Gaps are measured by a prober
// (prober.go, lane.go, view.go) whose pauses are the same for all. pgload needs psql.
package main
