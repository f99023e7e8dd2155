package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.SyncGroup, min: 0, max: 5, handle: handleSyncGroup})

func handleSyncGroup(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.SyncGroupRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.SyncGroup(ctx, req))
	})
}
