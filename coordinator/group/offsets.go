package group

import (
	"context"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// OffsetCommit answers when the offsets are in Postgres. Offsets that cannot be committed are refused one by one; the
// group may refuse all of them.
func (c *Coordinator) OffsetCommit(ctx context.Context, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	im := c.cfg.Image()
	resp := kmsg.NewPtrOffsetCommitResponse()
	var offsets []metadata.OffsetCommit
	var accepted, large []*int16 // the error codes of offsets, and of those whose metadata is too large
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		topic, unknown := lookup(im, req.Version >= 10, t.Topic, t.TopicID)
		for i, p := range t.Partitions {
			rt.Partitions[i].Partition = p.Partition
			code := &rt.Partitions[i].ErrorCode
			switch {
			case topic == nil:
				*code = unknown.Code
			case p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
				*code = kerr.UnknownTopicOrPartition.Code
			case c.tooLarge(p.Metadata):
				large = append(large, code)
			default:
				offsets = append(offsets, offsetCommit(req, topic.ID, p))
				accepted = append(accepted, code)
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(accepted)+len(large) == 0 {
		return resp
	}
	e := commitEvent{from: c.ticket(), memberID: req.MemberID, instanceID: req.InstanceID, generation: req.Generation, newer: req.Version >= 9}
	for _, o := range offsets {
		e.partitions = append(e.partitions, o.TopicPartition)
	}
	_, err := ask[*kerr.Error](ctx, c, request{group: req.Group, event: e, from: e.from, offsets: offsets})
	for _, code := range accepted {
		*code = codeOf(err)
	}
	if err == nil { // else the group's refusal comes first
		err = kerr.OffsetMetadataTooLarge
	}
	for _, code := range large {
		*code = err.Code
	}
	return resp
}

// tooLarge checks offset.metadata.max.bytes, which counts as Java's strings do: in UTF-16.
func (c *Coordinator) tooLarge(text *string) bool {
	return text != nil && len(*text) > c.cfg.OffsetMetadataMax && len(utf16.Encode([]rune(*text))) > c.cfg.OffsetMetadataMax
}

func offsetCommit(req *kmsg.OffsetCommitRequest, topic metadata.TopicID, p kmsg.OffsetCommitRequestTopicPartition) metadata.OffsetCommit {
	o := metadata.OffsetCommit{GroupID: req.Group, Offset: metadata.Offset{
		TopicPartition: metadata.TopicPartition{TopicID: topic, Partition: p.Partition}, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch}}
	if p.Metadata != nil {
		o.Metadata = *p.Metadata
	}
	if req.Version <= 4 && req.RetentionTimeMillis != -1 {
		o.Retention = max(time.Duration(req.RetentionTimeMillis)*time.Millisecond, 1)
	}
	return o
}

// lookup finds a topic by id or name, and says what an unknown one is answered with.
func lookup(im *metadata.Image, byID bool, name string, id metadata.TopicID) (*metadata.Topic, *kerr.Error) {
	if byID {
		return im.Topics[id], kerr.UnknownTopicID
	}
	return im.ByName[name], kerr.UnknownTopicOrPartition
}

// OffsetFetch reads committed offsets from Postgres. There are no transactions yet, so every offset is stable.
func (c *Coordinator) OffsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if req.Version >= 8 {
		for _, g := range req.Groups {
			resp.Groups = append(resp.Groups, c.fetchGroup(ctx, g, req.Version >= 10))
		}
		return resp
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil {
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.Partitions = t.Topic, t.Partitions
		g.Topics = append(g.Topics, rt)
	}
	answer := c.fetchGroup(ctx, g, false)
	resp.ErrorCode = answer.ErrorCode
	if answer.ErrorCode != 0 && req.Version < 2 { // no place for the error but the partitions (KAFKA-19246)
		answer.Topics = nothing(g, answer.ErrorCode)
	}
	for _, t := range answer.Topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata, rp.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (c *Coordinator) fetchGroup(ctx context.Context, g kmsg.OffsetFetchRequestGroup, byID bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = g.Group
	_, err := inspect(ctx, c, c.shardOf(g.Group), func(machines map[string]anyGroup) *kerr.Error {
		if m, ok := machines[g.Group].(*consumer); ok && (g.MemberID != nil || g.MemberEpoch >= 0) {
			return m.mayFetch(valueOf(g.MemberID), g.MemberEpoch)
		}
		return nil
	})
	if err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	im := c.cfg.Image()
	var wanted []metadata.TopicPartition
	if g.Topics != nil {
		wanted = []metadata.TopicPartition{}
	}
	for _, t := range g.Topics {
		if topic, _ := lookup(im, byID, t.Topic, t.TopicID); topic != nil {
			for _, p := range t.Partitions {
				wanted = append(wanted, metadata.TopicPartition{TopicID: topic.ID, Partition: p})
			}
		}
	}
	offsets, failure := c.cfg.Store.FetchOffsets(ctx, g.Group, wanted)
	if c.observed(failure) != nil {
		resp.ErrorCode = codeOf(c.code(failure))
		return resp
	}
	if g.Topics == nil {
		resp.Topics = allOffsets(im, offsets, byID)
		return resp
	}
	found := map[metadata.TopicPartition]metadata.Offset{}
	for _, o := range offsets {
		found[o.TopicPartition] = o
	}
	resp.Topics = nothing(g, 0)
	for i := range resp.Topics {
		fillOffsets(im, &resp.Topics[i], found, byID)
	}
	return resp
}

// fillOffsets puts the found offsets of a topic into its answer.
func fillOffsets(im *metadata.Image, t *kmsg.OffsetFetchResponseGroupTopic, found map[metadata.TopicPartition]metadata.Offset, byID bool) {
	topic, unknown := lookup(im, byID, t.Topic, t.TopicID)
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if topic == nil {
			if byID {
				p.ErrorCode = unknown.Code
			}
			continue
		}
		if o, ok := found[metadata.TopicPartition{TopicID: topic.ID, Partition: p.Partition}]; ok {
			*p = offsetAnswer(o)
		}
	}
}

// nothing answers every partition asked for with "no offset" or an error.
func nothing(g kmsg.OffsetFetchRequestGroup, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	var out []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range g.Topics {
		rt := kmsg.NewOffsetFetchResponseGroupTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata, rp.ErrorCode = p, -1, -1, new(""), code
			rt.Partitions = append(rt.Partitions, rp)
		}
		out = append(out, rt)
	}
	return out
}

// allOffsets answers a request for all offsets of a group, topic by topic. Offsets are ordered by topic.
func allOffsets(im *metadata.Image, offsets []metadata.Offset, byID bool) []kmsg.OffsetFetchResponseGroupTopic {
	var out []kmsg.OffsetFetchResponseGroupTopic
	var last metadata.TopicID
	for _, o := range offsets {
		topic := im.Topics[o.TopicID]
		if topic == nil {
			continue // created or deleted just now
		}
		if len(out) == 0 || o.TopicID != last {
			rt := kmsg.NewOffsetFetchResponseGroupTopic()
			rt.Topic = topic.Name
			if byID {
				rt.TopicID = topic.ID
			}
			out, last = append(out, rt), o.TopicID
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, offsetAnswer(o))
	}
	return out
}

func offsetAnswer(o metadata.Offset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.Offset, o.LeaderEpoch, &o.Metadata
	return p
}
