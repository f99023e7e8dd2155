package server

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.DeleteTopics, min: 1, max: 6, handle: handleDeleteTopics})

func handleDeleteTopics(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DeleteTopicsRequest)
	resp := kmsg.NewPtrDeleteTopicsResponse()
	asked := req.Topics
	for _, name := range req.TopicNames { // up to v5
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		asked = append(asked, t)
	}
	im := s.cfg.Image()
	var refs []metadata.TopicRef
	var at []int // refs[i] is resp.Topics[at[i]]
	for _, t := range distinctTopics(asked) {
		rt := kmsg.NewDeleteTopicsResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		ref, err := s.checkDeletion(im, t)
		if err == nil {
			refs, at = append(refs, ref), append(at, len(resp.Topics))
			rt.Topic, rt.TopicID = &ref.Name, ref.ID
		}
		rt.ErrorCode, rt.ErrorMessage = s.code(err), explain(err)
		resp.Topics = append(resp.Topics, rt)
	}
	if len(refs) == 0 {
		return answer(resp)
	}
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	errs, err := s.cfg.Store.DeleteTopics(ctx, refs)
	for i, at := range at {
		itemErr := err
		if err == nil {
			itemErr = errs[i]
		}
		resp.Topics[at].ErrorCode, resp.Topics[at].ErrorMessage = s.code(itemErr), explain(itemErr)
	}
	s.refresh(ctx)
	return answer(resp)
}

// A deletion is one topic of the request with how often it is there.
type deletion struct {
	kmsg.DeleteTopicsRequestTopic
	count int
}

// distinctTopics lists each topic of a request once.
func distinctTopics(asked []kmsg.DeleteTopicsRequestTopic) []*deletion {
	type key struct {
		name string
		id   uuid.UUID
	}
	var out []*deletion
	seen := make(map[key]*deletion, len(asked))
	for _, t := range asked {
		k := key{id: t.TopicID}
		if t.Topic != nil {
			k.name = *t.Topic
		}
		if seen[k] == nil {
			seen[k] = &deletion{DeleteTopicsRequestTopic: t}
			out = append(out, seen[k])
		}
		seen[k].count++
	}
	return out
}

// checkDeletion resolves what is to be deleted, by name and id, so that a topic made again meanwhile is not the one that goes.
func (s *Server) checkDeletion(im *metadata.Image, t *deletion) (ref metadata.TopicRef, err error) {
	hasID := t.TopicID != uuid.Nil
	var topic *metadata.Topic
	switch {
	case !s.cfg.Broker().DeleteTopicEnable:
		return ref, refuse(kerr.TopicDeletionDisabled, "Topic deletion is disabled (delete.topic.enable).")
	case t.Topic != nil && hasID:
		return ref, refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
	case t.Topic == nil && !hasID:
		return ref, refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
	case t.count > 1 && hasID:
		return ref, refuse(kerr.InvalidRequest, "Duplicate topic id.")
	case t.count > 1:
		return ref, refuse(kerr.InvalidRequest, "Duplicate topic name.")
	case hasID:
		if topic = im.Topics[t.TopicID]; topic == nil {
			return ref, kerr.UnknownTopicID
		}
	default:
		if topic = im.ByName[*t.Topic]; topic == nil {
			return ref, kerr.UnknownTopicOrPartition
		}
	}
	return metadata.TopicRef{Name: topic.Name, ID: topic.ID}, nil
}
