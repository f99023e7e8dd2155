package replica

import (
	"context"
	"sync"

	"varve/metadata"
)

// dirBatch is how many directories one transaction records.
const dirBatch = 1000

// dirWriter records in which directories this broker keeps its replicas: for all that are waiting in one transaction, since a new topic has many.
type dirWriter struct {
	m    *Manager
	wake chan struct{} // capacity 1
	mu   struct {
		sync.Mutex
		queue []dirRequest
	}
}

type dirRequest struct {
	assignment metadata.DirAssignment
	done       chan error // capacity 1
}

// assign returns when Postgres knows where the replica is kept, or why it does not.
func (w *dirWriter) assign(tp metadata.TopicPartition, dir metadata.DirID) error {
	r := dirRequest{metadata.DirAssignment{TopicPartition: tp, Dir: dir}, make(chan error, 1)}
	w.mu.Lock()
	w.mu.queue = append(w.mu.queue, r)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-r.done:
		return err
	case <-w.m.ctx.Done():
		return context.Cause(w.m.ctx)
	}
}

func (w *dirWriter) take() []dirRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.mu.queue), dirBatch)
	batch := w.mu.queue[:n:n]
	w.mu.queue = w.mu.queue[n:]
	return batch
}

func (w *dirWriter) run() {
	for {
		select {
		case <-w.m.ctx.Done():
			return
		case <-w.wake:
		}
		for batch := w.take(); len(batch) > 0; batch = w.take() {
			w.write(batch)
		}
	}
}

func (w *dirWriter) write(batch []dirRequest) {
	assignments := make([]metadata.DirAssignment, len(batch))
	for i, r := range batch {
		assignments[i] = r.assignment
	}
	errs, err := w.m.cfg.Store.AssignDirs(w.m.ctx, w.m.cfg.Self, assignments)
	for i, r := range batch {
		if err != nil {
			r.done <- err
			continue
		}
		r.done <- errs[i]
	}
}
