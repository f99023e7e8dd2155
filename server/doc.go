// Package server speaks the Kafka protocol: listeners, framing, one file per API key.
//
// # Connections
//
// One goroutine per connection reads requests and starts them in order (conn.go). A handler answers at once, or returns a wait that runs
// on a goroutine of its own; the next request does not wait for it. Answers leave in request order: whoever completes the oldest
// outstanding request writes it and those behind it that are complete (answers.go). At most maxInFlight requests of a connection are
// outstanding; beyond that it is not read. A handler that changes metadata runs to its end before the next request of the connection is
// started, so a client that pipelines a change and a question gets what it would get from Kafka, which serves one request at a time.
//
// # Frames and memory
//
// A frame is a 4-byte size and that many bytes: a request header and a body. What a peer claims costs nothing: an impossible size, an
// unknown API or version closes the connection before memory is spent, the memory of a large frame grows as its bytes come (frame.go),
// and array counts are checked against the bytes that are there (decode.go). ApiVersions alone is answered in a version that is not
// served. Requests of APIs marked alias live in pooled frames and are dead once answered; all others are ordinary memory that a
// handler may keep.
//
// # Errors
//
// Handlers pass errors of other rooms through Server.code, the one place that makes them Kafka error codes and logs those that have
// none. A panic in a handler is logged and closes its connection.
//
// # Adding an API
//
// Write NN_name.go with a package-level register call. ApiVersions advertises it, docs/apis.md (go test -run TestAPIDocs -update) lists it.
package server
