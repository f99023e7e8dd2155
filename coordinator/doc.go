// Package coordinator holds what the group and the transaction coordinator share: shards and their ownership.
package coordinator
