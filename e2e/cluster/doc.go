// Package cluster holds a real cluster of three brokers, with a real Postgres and a bucket, against one fault after the other while
// idempotent producers write, and judges what clients and replicas have afterwards by the rules of internal/historycheck.
package cluster
