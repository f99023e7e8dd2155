// Package fetch is the fetch path: isolation bounds, long poll, hot and cold reads, ListOffsets and OffsetForLeaderEpoch.
//
// [Fetcher.Fetch] reads what is there and waits in the purgatory until min.bytes are, or an error or a diverging epoch has to be told.
// Record bytes stay where they are: results hold slices of the log, which the caller releases. What lies below a log's local start is
// read by the [RemoteReader], which never blocks: a cold partition does not hold back what is ready.
//
// [Followers] are the sessions of other brokers' fetchers; see package replica.
package fetch
