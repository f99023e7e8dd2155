package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.ConsumerGroupDescribe, min: 0, max: 1, handle: handleConsumerGroupDescribe})

func handleConsumerGroupDescribe(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ConsumerGroupDescribeRequest)
	return later(func(ctx context.Context) reply {
		resp := s.cfg.Groups.ConsumerGroupDescribe(ctx, req)
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
