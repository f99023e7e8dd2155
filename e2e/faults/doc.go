// Package faults breaks what the broker stands on, one thing at a time, while real clients use it: Postgres stops, the bucket is gone, the
// disk is full, a peer sends nonsense. Each fault costs what it must and nothing else, and ends when the fault does.
package faults
