// Package wire replays exchanges with Apache Kafka (testdata/wire) to a broker and compares its answers with Kafka's, field by
// field. It is a test package: `go test -tags e2e ./e2e/wire` runs it against a fresh `varve dev`, with `-against kafka` against the
// reference Kafka, which tests the comparison itself, and with `-against HOST:PORT` against a broker that was prepared as
// testdata/wire/README.md says.
//
// Ids that a broker makes up (topics, members, sessions, producers) are compared as names: the first answer that holds one binds
// Kafka's id to the broker's, later answers must agree and later requests are sent with the broker's. Blanked is what is free: time
// stamps the broker sets, addresses, paths, throttle times, texts of errors, cluster ids, exact leader epochs. Everything else that
// differs must stand in testdata/wire/differences.txt with its reason. An exchange of an API version that the broker does not
// advertise is skipped and counted.
package wire
