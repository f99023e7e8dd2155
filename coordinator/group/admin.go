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

// DescribeGroups describes groups of this coordinator. AuthorizedOperations are the caller's business.
func (c *Coordinator) DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		g, err := inspect(ctx, c, c.shardOf(id), func(machines map[string]anyGroup) kmsg.DescribeGroupsResponseGroup {
			switch m := machines[id].(type) {
			case *machine:
				if m.state != dead {
					return m.describe()
				}
			case *consumer:
				return missing(id, req.Version, "Group %s is not a classic group.")
			}
			return missing(id, req.Version, "Group %s not found.")
		})
		if err != nil {
			g = kmsg.NewDescribeGroupsResponseGroup()
			g.ErrorCode, g.Group = err.Code, id
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// missing describes a group that does not exist as a classic one; since v6 that is an error.
func missing(id string, version int16, why string) kmsg.DescribeGroupsResponseGroup {
	g := kmsg.NewDescribeGroupsResponseGroup()
	g.Group, g.State = id, dead.String()
	if version >= 6 {
		g.ErrorCode, g.ErrorMessage = kerr.GroupIDNotFound.Code, new(fmt.Sprintf(why, id))
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
	for _, s := range c.shards {
		groups, err := inspect(ctx, c, s, func(machines map[string]anyGroup) []kmsg.ListGroupsResponseGroup {
			return list(machines, req.StatesFilter, req.TypesFilter)
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

func list(machines map[string]anyGroup, states, types []string) []kmsg.ListGroupsResponseGroup {
	var out []kmsg.ListGroupsResponseGroup
	for id, m := range machines {
		known := m.summary()
		if len(states) > 0 && !containsFold(states, known.state) || len(types) > 0 && !containsFold(types, known.kind) {
			continue
		}
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType, g.GroupState, g.GroupType = id, known.protocolType, known.state, known.kind
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
