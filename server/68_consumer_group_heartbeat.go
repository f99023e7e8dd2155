package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, handle: handleConsumerGroupHeartbeat})

func handleConsumerGroupHeartbeat(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ConsumerGroupHeartbeatRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.ConsumerGroupHeartbeat(ctx, req, r.clientID, javaAddress(r.clientHost)))
	})
}
