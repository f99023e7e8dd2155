package server

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/vfs"
	"varve/metadata"
)

var _ = register(api{key: kmsg.DescribeLogDirs, min: 1, max: 5, handle: handleDescribeLogDirs})

// handleDescribeLogDirs reports each log directory and, as Redpanda does, the bucket as one more directory "remote://bucket". There the
// leader reports each partition's bytes; they overlap with the local ones while both tiers hold a segment.
func handleDescribeLogDirs(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.DescribeLogDirsRequest)
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	im := s.cfg.Image()
	wanted := wantedPartitions(im, req)
	works := map[string]bool{}
	for _, d := range s.cfg.Dirs {
		if d.Failure() != nil {
			continue
		}
		works[d.Path()] = true
		total, usable := vfs.Space(d.Path())
		resp.Dirs = append(resp.Dirs, s.localDir(im, wanted, d.ID(), d.Path(), total, usable))
	}
	for _, path := range s.cfg.Broker().LogDirs { // failed now, or left out when the broker started
		if !works[path] && len(s.cfg.Dirs) > 0 {
			rd := kmsg.NewDescribeLogDirsResponseDir()
			rd.Dir, rd.ErrorCode, rd.TotalBytes, rd.UsableBytes = path, kerr.KafkaStorageError.Code, -1, -1
			resp.Dirs = append(resp.Dirs, rd)
		}
	}
	if s.cfg.Remote != nil {
		resp.Dirs = append(resp.Dirs, s.remoteDir(im, wanted))
	}
	return answer(resp)
}

// wantedTopic is one topic of the request; partitions nil: all.
type wantedTopic struct {
	topic      *metadata.Topic
	partitions []int32
}

// wantedPartitions lists the existing topics asked for; unknown ones are left out, as by Kafka.
func wantedPartitions(im *metadata.Image, req *kmsg.DescribeLogDirsRequest) []wantedTopic {
	var out []wantedTopic
	if req.Topics == nil {
		for _, name := range slices.Sorted(maps.Keys(im.ByName)) {
			out = append(out, wantedTopic{topic: im.ByName[name]})
		}
		return out
	}
	for _, t := range req.Topics {
		if topic := im.ByName[t.Topic]; topic != nil {
			out = append(out, wantedTopic{topic, append([]int32{}, t.Partitions...)})
		}
	}
	return out
}

// describeDir lists the partitions that f knows the size and offset lag of.
func describeDir(path string, wanted []wantedTopic, f func(p *metadata.Partition) (size, lag int64, ok bool)) kmsg.DescribeLogDirsResponseDir {
	rd := kmsg.NewDescribeLogDirsResponseDir()
	rd.Dir = path
	for _, w := range wanted {
		rt := kmsg.NewDescribeLogDirsResponseDirTopic()
		rt.Topic = w.topic.Name
		for i, p := range w.topic.Partitions {
			if w.partitions != nil && !slices.Contains(w.partitions, int32(i)) {
				continue
			}
			if size, lag, ok := f(p); ok {
				rp := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
				rp.Partition, rp.Size, rp.OffsetLag = int32(i), size, lag
				rt.Partitions = append(rt.Partitions, rp)
			}
		}
		if len(rt.Partitions) > 0 {
			rd.Topics = append(rd.Topics, rt)
		}
	}
	return rd
}

func (s *Server) localDir(im *metadata.Image, wanted []wantedTopic, dir uuid.UUID, path string, total, usable int64) kmsg.DescribeLogDirsResponseDir {
	only := len(s.cfg.Dirs) == 1
	rd := describeDir(path, wanted, func(p *metadata.Partition) (size, lag int64, ok bool) {
		i := slices.Index(p.Replicas, s.cfg.Self)
		if i < 0 || !only && (i >= len(p.Dirs) || p.Dirs[i] != dir) {
			return 0, 0, false
		}
		replica, err := s.cfg.Partitions.Partition(p.TopicPartition)
		if err != nil {
			return 0, 0, false
		}
		o := replica.Offsets()
		return replica.Log().Size(), max(o.HighWatermark-o.End, 0), true
	})
	rd.TotalBytes, rd.UsableBytes = total, usable
	return rd
}

func (s *Server) remoteDir(im *metadata.Image, wanted []wantedTopic) kmsg.DescribeLogDirsResponseDir {
	name := "remote://bucket"
	if u, err := url.Parse(s.cfg.Broker().BucketURL); err == nil {
		name = "remote://" + u.Host + u.Path
	}
	rd := describeDir(name, wanted, func(p *metadata.Partition) (size, lag int64, ok bool) {
		size = s.cfg.Remote.RemoteBytes(p.TopicPartition)
		return size, 0, p.Leader == s.cfg.Self && size > 0
	})
	rd.TotalBytes, rd.UsableBytes = -1, -1 // unknown
	return rd
}
