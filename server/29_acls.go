package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Without an authorizer the ACL APIs answer SECURITY_DISABLED, from which tools learn that there is nothing to show.
var (
	_ = register(api{key: kmsg.DescribeACLs, min: 1, max: 3, handle: handleDescribeACLs})
	_ = register(api{key: kmsg.CreateACLs, min: 1, max: 3, handle: handleCreateACLs})
	_ = register(api{key: kmsg.DeleteACLs, min: 1, max: 3, handle: handleDeleteACLs})
)

var errNoAuthorizer = refuse(kerr.SecurityDisabled, "No Authorizer is configured.")

func handleDescribeACLs(_ context.Context, s *Server, _ *request) reply {
	resp := kmsg.NewPtrDescribeACLsResponse()
	err := refuse(kerr.SecurityDisabled, "No Authorizer is configured on the broker")
	resp.ErrorCode, resp.ErrorMessage = s.code(err), explain(err)
	return answer(resp)
}

func handleCreateACLs(_ context.Context, s *Server, r *request) reply {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range r.Request.(*kmsg.CreateACLsRequest).Creations {
		result := kmsg.NewCreateACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = s.code(errNoAuthorizer), explain(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return answer(resp)
}

func handleDeleteACLs(_ context.Context, s *Server, r *request) reply {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range r.Request.(*kmsg.DeleteACLsRequest).Filters {
		result := kmsg.NewDeleteACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = s.code(errNoAuthorizer), explain(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return answer(resp)
}
