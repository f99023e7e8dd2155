package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
)

var _ = register(api{key: kmsg.ElectLeaders, min: 0, max: 2, handle: handleElectLeaders})

// ElectionStore elects leaders of the given partitions; index i of the result belongs to partition i.
type ElectionStore interface {
	ElectLeaders(ctx context.Context, kind metadata.ElectionType, tps []metadata.TopicPartition) ([]error, error)
}

// An election is one partition to elect a leader of, and how that went.
type election struct {
	topic     string
	partition int32
	err       error
}

func handleElectLeaders(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.ElectLeadersRequest)
	resp := kmsg.NewPtrElectLeadersResponse()
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	im := s.cfg.Image()
	all := req.Topics == nil
	elections := askedElections(im, req)
	kind := metadata.ElectionType(req.ElectionType) // v0 has none: preferred
	if kind != metadata.ElectPreferred && kind != metadata.ElectUnclean {
		resp.ErrorCode = kerr.InvalidRequest.Code
		for i := range elections {
			elections[i].err = refuse(kerr.InvalidRequest, "Unknown election type %d", req.ElectionType)
		}
	} else if err := s.elect(ctx, im, kind, elections); err != nil {
		resp.ErrorCode = s.code(err)
		for i := range elections {
			elections[i].err = err
		}
	}
	for _, e := range elections {
		if all && errors.Is(e.err, kerr.ElectionNotNeeded) {
			continue
		}
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != e.topic {
			rt := kmsg.NewElectLeadersResponseTopic()
			rt.Topic = e.topic
			resp.Topics = append(resp.Topics, rt)
		}
		rt := &resp.Topics[len(resp.Topics)-1]
		rp := kmsg.NewElectLeadersResponseTopicPartition()
		rp.Partition, rp.ErrorCode, rp.ErrorMessage = e.partition, s.code(e.err), explain(e.err)
		rt.Partitions = append(rt.Partitions, rp)
	}
	return answer(resp)
}

// askedElections lists the partitions of a request by topic and partition, all there are when it names none, with an error for those
// that do not exist.
func askedElections(im *metadata.Image, req *kmsg.ElectLeadersRequest) []election {
	var out []election
	if req.Topics == nil {
		for _, name := range slices.Sorted(maps.Keys(im.ByName)) {
			for p := range im.ByName[name].Partitions {
				out = append(out, election{topic: name, partition: int32(p)})
			}
		}
		return out
	}
	for _, rt := range req.Topics {
		t := im.ByName[rt.Topic]
		for _, p := range rt.Partitions {
			e := election{topic: rt.Topic, partition: p}
			switch {
			case t == nil:
				e.err = refuse(kerr.UnknownTopicOrPartition, "No such topic as %s", rt.Topic)
			case p < 0 || int(p) >= len(t.Partitions):
				e.err = refuse(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", rt.Topic, p)
			}
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b election) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return slices.CompactFunc(out, func(a, b election) bool { return a.topic == b.topic && a.partition == b.partition })
}

// elect runs the elections of those partitions that exist and notes the outcome of each.
func (s *Server) elect(ctx context.Context, im *metadata.Image, kind metadata.ElectionType, elections []election) error {
	var tps []metadata.TopicPartition
	var at []int
	for i, e := range elections {
		if e.err == nil {
			tps = append(tps, metadata.TopicPartition{TopicID: im.ByName[e.topic].ID, Partition: e.partition})
			at = append(at, i)
		}
	}
	if len(tps) == 0 {
		return nil
	}
	errs, err := s.cfg.Store.ElectLeaders(ctx, kind, tps)
	if err != nil {
		return err
	}
	for i, err := range errs {
		elections[at[i]].err = err
	}
	s.refresh(ctx)
	return nil
}
