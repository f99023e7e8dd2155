package metadata

import (
	"context"
	"slices"
	"sync"
)

// dirs are the log directories that this broker registers. One that fails while it runs is registered no longer: its replicas leave the in-sync sets that have
// other members, and lead no more.
type dirs struct {
	lost chan struct{} // capacity 1
	mu   struct {
		sync.Mutex
		online []DirID
	}
}

func newDirs(online []DirID) *dirs {
	d := &dirs{lost: make(chan struct{}, 1)}
	d.mu.online = slices.Clone(online)
	return d
}

func (d *dirs) lose(id DirID) {
	d.mu.Lock()
	d.mu.online = slices.DeleteFunc(d.mu.online, func(o DirID) bool { return o == id })
	d.mu.Unlock()
	signal(d.lost)
}

func (d *dirs) get() []DirID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mu.online)
}

// LoseDir says that a log directory of this broker has failed. It does not block; the cluster learns of it as soon as the store is there.
func (n *Node) LoseDir(id DirID) { n.dirs.lose(id) }

// registration is what this broker tells of itself now.
func (n *Node) registration() Registration {
	r := n.cfg.Registration
	r.Dirs = n.dirs.get()
	return r
}

// amend registers again, as the same process, whenever a directory was lost.
func (n *Node) amend(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.dirs.lost:
		}
		for ctx.Err() == nil {
			r := n.registration()
			if len(r.Dirs) == 0 {
				return // the broker ends
			}
			err := n.register(ctx, r)
			if err == nil {
				n.cfg.Logger.Warn("told the cluster that a log directory is gone", "online", len(r.Dirs))
				break
			}
			if !unavailable(err) && ctx.Err() == nil {
				n.cfg.Logger.Error("the cluster could not be told that a log directory is gone, will be tried again", "err", err)
			}
			sleep(ctx, jitter(joinRetry))
		}
	}
}
