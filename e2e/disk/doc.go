// Package disk takes a broker's local data away while it is stopped, wholly or one partition's, and holds what comes back from the
// bucket against what was there before: every record below the tiered end, byte for byte, with the state of its producers. It is a
// test package: go test -tags e2e ./e2e/disk.
package disk
