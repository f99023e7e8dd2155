package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.OffsetFetch, min: 1, max: 10, handle: handleOffsetFetch})

func handleOffsetFetch(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.OffsetFetchRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.OffsetFetch(ctx, req))
	})
}
