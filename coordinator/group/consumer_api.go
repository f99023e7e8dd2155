package group

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// ConsumerGroupHeartbeat joins, keeps or leaves a group of the consumer protocol (KIP-848). What the answer shows is in
// Postgres.
func (c *Coordinator) ConsumerGroupHeartbeat(ctx context.Context, req *kmsg.ConsumerGroupHeartbeatRequest, clientID, clientHost string) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	if c.cfg.ClassicOnly {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp
	}
	if err, why := c.checkBeat(req); err != nil {
		resp.ErrorCode, resp.ErrorMessage = err.Code, &why
		return resp
	}
	e := beatEvent{from: c.ticket(), memberID: req.MemberID, epoch: req.MemberEpoch, instanceID: req.InstanceID, rackID: req.RackID,
		clientID: clientID, clientHost: clientHost, rebalance: time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		topics: req.SubscribedTopicNames, regex: req.SubscribedTopicRegex, assignor: req.ServerAssignor}
	if e.memberID == "" { // v0
		e.memberID = uuid.NewString()
	}
	if req.Topics != nil {
		e.owned = []metadata.TopicPartition{}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			e.owned = append(e.owned, metadata.TopicPartition{TopicID: t.TopicID, Partition: p})
		}
	}
	a, err := ask[beaten](ctx, c, request{group: req.Group, event: e, from: e.from})
	if err == kerr.GroupIDNotFound {
		a.message = fmt.Sprintf("Consumer group %s not found.", req.Group)
	}
	if err = cmp.Or(err, a.err); err != nil {
		resp.ErrorCode = err.Code
		if a.message != "" {
			resp.ErrorMessage = &a.message
		}
		return resp
	}
	resp.MemberID, resp.MemberEpoch = &a.memberID, a.epoch
	if req.MemberEpoch >= joining {
		resp.HeartbeatIntervalMillis = int32(c.cfg.ConsumerInterval.Milliseconds())
	}
	if a.assignment != nil {
		resp.Assignment = beatAssignment(a.assignment)
	}
	return resp
}

func beatAssignment(assigned map[metadata.TopicPartition]int32) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	out := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	for _, tp := range inOrder(assigned) {
		if n := len(out.Topics); n == 0 || out.Topics[n-1].TopicID != tp.TopicID {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID = tp.TopicID
			out.Topics = append(out.Topics, t)
		}
		t := &out.Topics[len(out.Topics)-1]
		t.Partitions = append(t.Partitions, tp.Partition)
	}
	return &out
}

func inOrder[T any](set map[metadata.TopicPartition]T) []metadata.TopicPartition {
	out := make([]metadata.TopicPartition, 0, len(set))
	for tp := range set {
		out = append(out, tp)
	}
	slices.SortFunc(out, func(a, b metadata.TopicPartition) int {
		return cmp.Or(slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// checkBeat refuses a request that makes no sense by itself, in Kafka's order and with its words.
func (c *Coordinator) checkBeat(req *kmsg.ConsumerGroupHeartbeatRequest) (err *kerr.Error, why string) {
	isEmpty := func(s *string) bool { return s != nil && *s == "" }
	switch epoch := req.MemberEpoch; {
	case req.MemberID == "" && (req.Version >= 1 || epoch > joining || epoch == leaving):
		why = "MemberId can't be empty."
	case req.Group == "":
		why = "GroupId can't be empty."
	case isEmpty(req.InstanceID):
		why = "InstanceId can't be empty."
	case isEmpty(req.RackID):
		why = "RackId can't be empty."
	case epoch == joining && req.RebalanceTimeoutMillis == -1:
		why = "RebalanceTimeoutMs must be provided in first request."
	case epoch == joining && (req.Topics == nil || len(req.Topics) > 0):
		why = "TopicPartitions must be empty when (re-)joining."
	case epoch == joining && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		why = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
	case epoch == leavingAsStatic && req.InstanceID == nil:
		why = "InstanceId can't be null."
	case epoch < leavingAsStatic:
		why = "MemberEpoch is invalid."
	case req.ServerAssignor != nil && !slices.Contains(c.cfg.ConsumerAssignors, *req.ServerAssignor):
		return kerr.UnsupportedAssignor, fmt.Sprintf("ServerAssignor %s is not supported. Supported assignors: %s.", *req.ServerAssignor, strings.Join(c.cfg.ConsumerAssignors, ", "))
	default:
		return nil, ""
	}
	return kerr.InvalidRequest, why
}

// ConsumerGroupDescribe describes groups of the consumer protocol. AuthorizedOperations are the caller's business.
func (c *Coordinator) ConsumerGroupDescribe(ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	im := c.cfg.Image()
	for _, id := range req.Groups {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		err := checkGroupID(id)
		if err == nil {
			g, err = inspect(ctx, c, c.shardOf(id), func(machines map[string]anyGroup) kmsg.ConsumerGroupDescribeResponseGroup {
				switch m := machines[id].(type) {
				case *consumer:
					return m.describe(im)
				case *machine:
					return noConsumerGroup("Group %s is not a consumer group.", id)
				}
				return noConsumerGroup("Group %s not found.", id)
			})
		}
		if err != nil {
			g = kmsg.NewConsumerGroupDescribeResponseGroup()
			g.ErrorCode = err.Code
		}
		g.Group = id
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

func noConsumerGroup(why, id string) kmsg.ConsumerGroupDescribeResponseGroup {
	g := kmsg.NewConsumerGroupDescribeResponseGroup()
	g.ErrorCode, g.ErrorMessage = kerr.GroupIDNotFound.Code, new(fmt.Sprintf(why, id))
	return g
}

func (m *consumer) describe(im *metadata.Image) kmsg.ConsumerGroupDescribeResponseGroup {
	g := kmsg.NewConsumerGroupDescribeResponseGroup()
	g.Group, g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName = m.id, m.status(), m.epoch, m.assignmentEpoch, m.assignor()
	for _, x := range m.sorted() {
		rm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		rm.MemberID, rm.InstanceID, rm.RackID, rm.MemberEpoch = x.MemberID, x.InstanceID, x.RackID, x.Epoch
		rm.ClientID, rm.ClientHost, rm.SubscribedTopics = x.ClientID, x.ClientHost, x.Topics
		rm.SubscribedTopicRegex, rm.MemberType = new(x.Regex), 1
		rm.Assignment, rm.TargetAssignment = describeAssignment(im, x.Assigned), describeAssignment(im, x.target)
		g.Members = append(g.Members, rm)
	}
	return g
}

// describeAssignment names topics, and leaves out those that are gone.
func describeAssignment[T any](im *metadata.Image, set map[metadata.TopicPartition]T) kmsg.Assignment {
	out := kmsg.NewAssignment()
	for _, tp := range inOrder(set) {
		topic := im.Topics[tp.TopicID]
		if topic == nil {
			continue
		}
		if n := len(out.TopicPartitions); n == 0 || out.TopicPartitions[n-1].TopicID != tp.TopicID {
			t := kmsg.NewAssignmentTopicPartition()
			t.TopicID, t.Topic = tp.TopicID, topic.Name
			out.TopicPartitions = append(out.TopicPartitions, t)
		}
		t := &out.TopicPartitions[len(out.TopicPartitions)-1]
		t.Partitions = append(t.Partitions, tp.Partition)
	}
	return out
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
