package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

// trim asks a shard to delete offsets of a group. decide sees the group (nil: there is none) and says which, and what to
// answer once they are gone from Postgres; it runs in the shard's goroutine, so nothing happens to the group between its
// decision and the place of the deletion among the shard's writes.
type trim struct {
	group  string
	decide func(k keeper) (offsets []metadata.Offset, answer any)
	answer chan any
}

func (s *shard) trim(t trim) {
	if err := s.refusal(); err != nil {
		t.answer <- err
		return
	}
	k, _ := s.machines[t.group].(keeper)
	offsets, answer := t.decide(k)
	if len(offsets) == 0 {
		t.answer <- answer
		return
	}
	if !s.writer.add(op{trim: &trimming{offsets, answer, t.answer}, group: t.group}) {
		t.answer <- kerr.CoordinatorNotAvailable
	}
}

// trimming is a decided trim on its way into Postgres.
type trimming struct {
	offsets []metadata.Offset
	result  any // the answer if it succeeds
	answer  chan<- any
}

func (w *writer) trim(group string, t *trimming) {
	err := w.write(func(ctx context.Context) error {
		return w.c.cfg.Store.DeleteOffsets(ctx, w.shard, w.epoch, group, t.offsets)
	})
	if err != nil {
		t.answer <- err
		return
	}
	t.answer <- t.result
}

// askTrim sends a trim to its group's shard and waits for the answer.
func askTrim[T any](ctx context.Context, c *Coordinator, group string, decide func(keeper) ([]metadata.Offset, any)) (T, *kerr.Error) {
	answer := make(chan any, 1)
	return await[T](ctx, c, c.shardOf(group), trim{group, decide, answer}, answer)
}

// OffsetDelete forgets committed offsets of topics that the group does not read, and answers when they are gone from
// Postgres.
func (c *Coordinator) OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	im := c.cfg.Image()
	known, unknown := kmsg.NewPtrOffsetDeleteResponse(), kmsg.NewPtrOffsetDeleteResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			if im.ByName[t.Topic] == nil {
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		if im.ByName[t.Topic] == nil {
			unknown.Topics = append(unknown.Topics, rt)
		} else {
			known.Topics = append(known.Topics, rt)
		}
	}
	err := checkGroupID(req.Group)
	if err == nil {
		_, err = askTrim[bool](ctx, c, req.Group, func(k keeper) ([]metadata.Offset, any) {
			if k == nil {
				return nil, kerr.GroupIDNotFound
			}
			return deletable(k, im, known.Topics)
		})
	}
	if err != nil {
		return &kmsg.OffsetDeleteResponse{ErrorCode: err.Code}
	}
	known.Topics = append(unknown.Topics, known.Topics...) // Kafka's order
	return known
}

// deletable are the offsets of topics that may be deleted. Partitions of the others get GROUP_SUBSCRIBED_TO_TOPIC.
func deletable(k keeper, im *metadata.Image, topics []kmsg.OffsetDeleteResponseTopic) ([]metadata.Offset, any) {
	if err := k.mayDeleteOffsets(); err != nil {
		return nil, err
	}
	var out []metadata.Offset
	subscribed := k.subscribes()
	for _, t := range topics {
		for i, p := range t.Partitions {
			if subscribed(im.ByName[t.Topic].ID, t.Topic) {
				t.Partitions[i].ErrorCode = kerr.GroupSubscribedToTopic.Code
				continue
			}
			out = append(out, metadata.Offset{TopicPartition: metadata.TopicPartition{TopicID: im.ByName[t.Topic].ID, Partition: p.Partition}})
		}
	}
	return out, true
}
