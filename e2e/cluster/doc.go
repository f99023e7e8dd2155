// Package cluster holds a real cluster of three brokers, with a real Postgres and a bucket, against one fault after the other while
// idempotent producers write, and judges what clients and replicas have afterwards by the rules of internal/historycheck. It is a test
// package; docs/testing.md lists the faults:
//
//	go test -tags e2e ./e2e/cluster                              each fault once, about ten minutes
//	go test -tags e2e ./e2e/cluster -run TestKill/leader -v      one of them
//	go test -tags e2e ./e2e/cluster -seed 7                      the same choices again (not the same interleaving)
//	go test -tags e2e ./e2e/cluster -long 10m -timeout 6h        each fault for that time, with longer outages
package cluster
