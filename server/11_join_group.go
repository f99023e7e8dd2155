package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var _ = register(api{key: kmsg.JoinGroup, min: 0, max: 9, handle: handleJoinGroup})

func handleJoinGroup(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.JoinGroupRequest)
	return later(func(ctx context.Context) reply {
		return answer(s.cfg.Groups.JoinGroup(ctx, req, r.clientID, javaAddress(r.clientHost)))
	})
}

// javaAddress is how java.net.InetAddress prints an address without a name: what tools show as a member's host.
func javaAddress(host string) string { return "/" + host }
