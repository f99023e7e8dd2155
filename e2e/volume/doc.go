// Package volume sends ten million records through a broker: produced while it is killed and started again, replayed, compacted and replayed again, each
// compared with what was sent by checksum. It is a test package: go test -tags e2e ./e2e/volume (-records N for another number).
package volume
