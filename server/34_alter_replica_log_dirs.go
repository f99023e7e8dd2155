package server

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/metadata"
)

var _ = register(api{key: kmsg.AlterReplicaLogDirs, min: 1, max: 2, handle: handleAlterReplicaLogDirs})

// handleAlterReplicaLogDirs moves nothing: Varve chooses the directory. It agrees when a replica is where it shall be, as it is when
// kafka-reassign-partitions goes back to the assignment that it printed, which names the directories.
func handleAlterReplicaLogDirs(_ context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.AlterReplicaLogDirsRequest)
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	im := s.cfg.Image()
	for _, d := range req.Dirs {
		dir, err := s.logDir(d.Dir)
		for _, t := range d.Topics {
			rt := kmsg.NewAlterReplicaLogDirsResponseTopic()
			rt.Topic = t.Topic
			for _, partition := range t.Partitions {
				rp := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				rp.Partition = partition
				why := err
				if why == nil {
					why = s.inDir(im, t.Topic, partition, dir.ID())
				}
				rp.ErrorCode = s.code(why)
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
	}
	return answer(resp)
}

// logDir finds a log directory of this broker that works: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR.
func (s *Server) logDir(path string) (*commitlog.Dir, error) {
	for _, d := range s.cfg.Dirs {
		if d.Path() == path {
			if d.Failure() != nil {
				return nil, kerr.KafkaStorageError
			}
			return d, nil
		}
	}
	if slices.Contains(s.cfg.Broker().LogDirs, path) { // left out when the broker started
		return nil, kerr.KafkaStorageError
	}
	return nil, kerr.LogDirNotFound
}

// inDir is nil when this broker's replica is in directory dir. UNKNOWN_TOPIC_OR_PARTITION; REPLICA_NOT_AVAILABLE when there is no replica, or
// it is not in a directory yet, for which clients ask again; UNSUPPORTED_VERSION when it is in another one.
func (s *Server) inDir(im *metadata.Image, topic string, partition int32, dir metadata.DirID) error {
	tp, err := findPartition(im, topic, partition)
	if err != nil {
		return err
	}
	p := im.Partition(tp)
	i := slices.Index(p.Replicas, s.cfg.Self)
	switch {
	case i < 0 || p.Dirs[i] == metadata.DirID{}:
		return kerr.ReplicaNotAvailable
	case p.Dirs[i] != dir:
		return kerr.UnsupportedVersion
	}
	return nil
}
