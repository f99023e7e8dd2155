// Package testcluster runs real broker processes for the end-to-end tests: the varve binary of this tree, built once per test
// process, and the reference Kafka of testdata/kafka, each in a directory of its own on a port of its own.
//
// A [Broker] belongs to the test that started it: it is stopped by a cleanup of that test, and the tail of its log is printed
// when the test failed. Methods end the test with t.Fatal when the process does not do what was asked in time; they are for the
// test's own goroutine and not for concurrent use. Starting again after Stop or Kill keeps directory and port, so that clients find
// the broker where it was.
//
// A [Cluster] is several brokers with a Postgres of their own and one bucket; a package that starts one has
// testcluster.Main(testpg.Main(m)) as its TestMain. A [Proxy] between them stands for the network.
package testcluster
