// Package migrations holds the schema of the metadata database as numbered SQL, embedded: NNNN_name.up.sql and its
// NNNN_name.down.sql. Each file is one transaction and records its number in schema_applied, so that a crash in the
// middle leaves either nothing or all of it. A released file never changes; the next change is the next number, and
// it must suit the brokers of the version before, which run on while others are upgraded.
package migrations

import "embed"

// Files are the migrations, at the root.
//
//go:embed *.sql
var Files embed.FS

// Version is the number of the newest migration: the schema that this program needs.
const Version = 5
