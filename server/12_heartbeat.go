package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.Heartbeat, min: 0, max: 4, handle: handleHeartbeat})

func handleHeartbeat(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.HeartbeatRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.Heartbeat(ctx, req))
	})
}
