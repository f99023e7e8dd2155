package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.LeaveGroup, min: 0, max: 5, handle: handleLeaveGroup})

func handleLeaveGroup(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.LeaveGroupRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.LeaveGroup(ctx, req))
	})
}
