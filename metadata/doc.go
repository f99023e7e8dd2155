// Package metadata holds the cluster's metadata as values: brokers, topics, partitions, remote segments, and the
// immutable Image of them all at one version; the pure rules that change them (placement, election, registration);
// and the publisher that keeps every broker's Image current. It knows no files and no wire protocol.
// The state itself lives in Postgres: package metadata/postgres.
package metadata
