package group

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicType is the group type that ListGroups reports (KIP-848's word for groups of the old protocol).
const classicType = "classic"

// DescribeGroups describes groups of this coordinator. AuthorizedOperations are the caller's business.
func (c *Coordinator) DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		g, err := inspect(ctx, c, c.shardOf(id), func(machines map[string]*machine) kmsg.DescribeGroupsResponseGroup {
			if m := machines[id]; m != nil && m.state != dead {
				return m.describe()
			}
			return missing(id, req.Version)
		})
		if err != nil {
			g = kmsg.NewDescribeGroupsResponseGroup()
			g.ErrorCode, g.Group = err.Code, id
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// missing describes a group that does not exist; since v6 that is an error.
func missing(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	g := kmsg.NewDescribeGroupsResponseGroup()
	g.Group, g.State = id, dead.String()
	if version >= 6 {
		g.ErrorCode, g.ErrorMessage = kerr.GroupIDNotFound.Code, new(fmt.Sprintf("Group %s not found.", id))
	}
	return g
}

// describe tells protocol, metadata and assignments only of a stable group: before, they are about to change.
func (m *machine) describe() kmsg.DescribeGroupsResponseGroup {
	g := kmsg.NewDescribeGroupsResponseGroup()
	g.Group, g.State, g.ProtocolType = m.id, m.state.String(), m.protocolType
	if m.state == stable {
		g.Protocol = m.protocol
	}
	for _, x := range m.members {
		rm := kmsg.NewDescribeGroupsResponseGroupMember()
		rm.MemberID, rm.InstanceID, rm.ClientID, rm.ClientHost = x.id, x.instanceID, x.clientID, x.clientHost
		if m.state == stable {
			rm.ProtocolMetadata, rm.MemberAssignment = x.metadata(m.protocol), x.assignment
		}
		g.Members = append(g.Members, rm)
	}
	return g
}

// ListGroups lists the groups of this coordinator, by id. COORDINATOR_LOAD_IN_PROGRESS while one of its shards is being
// loaded, as the list would not be complete.
func (c *Coordinator) ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	if len(req.TypesFilter) > 0 && !containsFold(req.TypesFilter, classicType) {
		return resp
	}
	for _, s := range c.shards {
		groups, err := inspect(ctx, c, s, func(machines map[string]*machine) []kmsg.ListGroupsResponseGroup {
			return list(machines, req.StatesFilter)
		})
		switch err {
		case nil, kerr.NotCoordinator:
			resp.Groups = append(resp.Groups, groups...)
		default:
			return &kmsg.ListGroupsResponse{ErrorCode: err.Code}
		}
	}
	slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	return resp
}

func list(machines map[string]*machine, states []string) []kmsg.ListGroupsResponseGroup {
	var out []kmsg.ListGroupsResponseGroup
	for _, m := range machines {
		if len(states) > 0 && !containsFold(states, m.state.String()) {
			continue
		}
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType, g.GroupState, g.GroupType = m.id, m.protocolType, m.state.String(), classicType
		out = append(out, g)
	}
	return out
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(e string) bool { return strings.EqualFold(e, s) })
}

// DeleteGroups deletes groups without members, with their offsets, and answers when they are gone from Postgres.
func (c *Coordinator) DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, id := range req.Groups {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = id, codeOf(c.deleteGroup(ctx, id, time.Time{}))
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}
