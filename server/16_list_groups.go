package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.ListGroups, min: 0, max: 5, handle: handleListGroups})

func handleListGroups(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ListGroupsRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.ListGroups(ctx, req))
	})
}
