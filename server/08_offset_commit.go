package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.OffsetCommit, min: 2, max: 10, handle: handleOffsetCommit})

func handleOffsetCommit(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.OffsetCommitRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.OffsetCommit(ctx, req))
	})
}
