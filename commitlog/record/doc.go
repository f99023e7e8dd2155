// Package record reads, checks, rewrites and builds Kafka's RecordBatch v2.
package record
