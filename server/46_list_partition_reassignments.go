package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.ListPartitionReassignments, min: 0, max: 0, handle: handleListPartitionReassignments})

// handleListPartitionReassignments lists none: replicas are not moved yet. kafka-topics asks this when it describes topics.
func handleListPartitionReassignments(context.Context, *Server, *request) reply {
	return answer(kmsg.NewPtrListPartitionReassignmentsResponse())
}
