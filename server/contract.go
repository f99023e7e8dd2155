// Package server speaks the Kafka protocol: listeners, framing, one file per API key.
package server

// CONTRACT (skeleton). Owner: server room. The fetch worker owns 00_produce.go, 01_fetch*.go, 02_list_offsets.go, 21_delete_records.go, 23_offset_for_leader_epoch.go
// and sendfile*.go; the group worker owns 08-16 except FindCoordinator's frame (10), which it owns too.

import (
	"context"
	"log/slog"
	"net"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/coordinator/group"
	"varve/fetch"
	"varve/ingest"
	"varve/internal/config"
	"varve/metadata"
	"varve/replica"
)

// listener is the listener of a connection and what it advertises.
type listener struct {
	name string
}

// connWriter is the sending side of a connection: buffered bytes, slices by writev, file ranges by sendfile.
type connWriter struct{}

// Admin changes topics and configurations in the metadata. Implemented by metadata/postgres.
type Admin interface{} // split into small interfaces beside the API files that use them

// Config of a Server.
type Config struct {
	Self       metadata.BrokerID
	Broker     func() *config.Broker
	Image      func() *metadata.Image
	Refresh    func(ctx context.Context) error // load the image now: after this broker changed the metadata
	Store      Admin
	Partitions *replica.Manager
	Producer   *ingest.Producer
	Fetcher    *fetch.Fetcher
	Groups     *group.Coordinator
	Remote     RemoteSizes // nil without a bucket
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// RemoteSizes tells the bytes of a partition in the bucket, for DescribeLogDirs. Implemented by tiering.
type RemoteSizes interface {
	RemoteBytes(tp metadata.TopicPartition) int64
}

// Server serves Kafka clients.
type Server struct{ cfg Config }

func New(cfg Config) *Server { panic("unbuilt") }

// Serve accepts connections until ctx ends, then lets requests in flight finish for a grace time and closes the rest.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { panic("unbuilt") }

var _ uuid.UUID
