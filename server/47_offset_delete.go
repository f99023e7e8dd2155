package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.OffsetDelete, min: 0, max: 0, handle: handleOffsetDelete})

func handleOffsetDelete(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.OffsetDeleteRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.OffsetDelete(ctx, req))
	})
}
