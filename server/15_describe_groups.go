package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.DescribeGroups, min: 0, max: 6, handle: handleDescribeGroups})

// groupOperations are the operations on a group that a client is allowed without an authorizer: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS
// and ALTER_CONFIGS.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func handleDescribeGroups(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeGroupsRequest)
	return later(func(ctx context.Context) reply {
		resp := s.cfg.Groups.DescribeGroups(ctx, req)
		if req.IncludeAuthorizedOperations {
			for i := range resp.Groups {
				if resp.Groups[i].ErrorCode == 0 {
					resp.Groups[i].AuthorizedOperations = groupOperations
				}
			}
		}
		return answer(resp)
	})
}
