package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog"
	"varve/metadata"
)

// errNoDirs ends a broker: without a log directory that works there is nothing to serve, and a restart may find the disks well.
var errNoDirs = errors.New("no log directory works any more")

// openDirs opens the log directories. One whose disk does not answer is left out, and its partitions are offline, as long as another one works; one that
// belongs to another broker or cluster, or is in use, is a mistake in the configuration and ends the start.
func (b *broker) openDirs() error {
	var broken []error
	for _, path := range b.cfg.LogDirs {
		d, err := b.openDir(path)
		switch {
		case err == nil:
			b.dirs = append(b.dirs, d)
		case errors.Is(err, kerr.KafkaStorageError):
			broken = append(broken, fmt.Errorf("log.dirs: %s: %w", path, err))
		default:
			return fmt.Errorf("log.dirs: %w", err)
		}
	}
	if len(b.dirs) == 0 {
		return errors.Join(broken...)
	}
	for _, err := range broken {
		b.log.Error("a log directory does not work: its partitions are offline until the broker is restarted with a working disk", "error", err)
	}
	return nil
}

func (b *broker) openDir(path string) (*commitlog.Dir, error) {
	durability := commitlog.Fsync
	if b.cfg.Durability == "async" {
		durability = commitlog.Async
	}
	opened := make(chan metadata.DirID, 1) // what failed is about: known only after OpenDir has returned
	d, err := commitlog.OpenDir(path, commitlog.DirOptions{ClusterID: b.cluster.String(), NodeID: b.cfg.NodeID, Durability: durability, Logger: b.log, Registerer: b.reg,
		Failed: func(err error) { b.dirFailed(<-opened, err) }})
	if err != nil {
		return nil, err
	}
	opened <- d.ID()
	return d, nil
}

// dirFailed takes a directory's partitions out of service, and ends the broker when it was the last directory.
func (b *broker) dirFailed(id metadata.DirID, reason error) {
	b.partitions.Fail(id, reason)
	if lose := b.loseDir.Load(); lose != nil {
		(*lose)(id)
	}
	for _, d := range b.dirs {
		if d.Failure() == nil {
			return
		}
	}
	b.end(fmt.Errorf("%w: %w", errNoDirs, reason))
}

// endedBy returns why the broker ended, if not because it was told to.
func endedBy(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errNoDirs) {
		return err
	}
	return nil
}
