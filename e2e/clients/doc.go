// Package clients points unmodified Kafka clients at a real broker process: kcat (librdkafka), Java's console tools, Python
// (confluent-kafka) and franz-go. Each produces with every codec, reads what all others produced, works in a group, and goes on from
// its committed offset after the broker was restarted; the admin tools create, describe, alter and delete. It is a test package:
// `go test -tags e2e ./e2e/clients`, with `-against kafka` against the reference Kafka, which tests the tests.
//
// It needs kcat, python3 with confluent-kafka, and Java with the jars of `testdata/kafka/kafka.sh install`.
package clients
