package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.DeleteGroups, min: 0, max: 2, handle: handleDeleteGroups})

func handleDeleteGroups(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DeleteGroupsRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.DeleteGroups(ctx, req))
	})
}
