package group

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// expired reports whether a group may be forgotten with its offsets: it has been empty for the retention time, and so
// long nothing was committed (KIP-211). A group with members keeps all its offsets.
func expired(emptySince time.Time, offsets []metadata.Offset, retention time.Duration, now time.Time) bool {
	limit := now.Add(-retention)
	for _, o := range offsets {
		if o.CommittedAt.After(limit) {
			return false
		}
	}
	return !emptySince.After(limit)
}

// emptyGroups are the groups of a shard that have been empty since limit, with the time since when.
func emptyGroups(machines map[string]anyGroup, limit time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	for id, m := range machines {
		if since, ok := m.idle(limit); ok {
			out[id] = since
		}
	}
	return out
}

// expire looks for expired groups every RetentionCheckInterval.
func (c *Coordinator) expire() {
	for c.pause(c.cfg.RetentionCheckInterval); c.ctx.Err() == nil; c.pause(c.cfg.RetentionCheckInterval) {
		for _, s := range c.shards {
			c.expireShard(s)
		}
	}
}

// expireShard deletes the expired groups of a shard. What fails is found again by the next pass.
func (c *Coordinator) expireShard(s *shard) {
	limit := c.clock.now().Add(-c.cfg.OffsetsRetention)
	candidates, err := inspect(c.ctx, c, s, func(m map[string]anyGroup) map[string]time.Time { return emptyGroups(m, limit) })
	if err != nil {
		return // another broker's, or not loaded yet
	}
	for id, since := range candidates {
		if c.ctx.Err() != nil || c.clock.frozen() {
			return
		}
		offsets, err := c.cfg.Store.FetchOffsets(c.ctx, id, nil)
		if c.observed(err) != nil || !expired(since, offsets, c.cfg.OffsetsRetention, c.clock.now()) {
			continue
		}
		if c.deleteGroup(c.ctx, id, limit) == nil {
			c.metrics.expired.Inc()
			c.log.Info("group expired", "group", id, "offsets", len(offsets))
		}
	}
}

// deleteGroup deletes an empty group; with a limit, only if nothing happened to it since.
func (c *Coordinator) deleteGroup(ctx context.Context, id string, limit time.Time) *kerr.Error {
	e := deleteEvent{from: c.ticket(), idleSince: limit}
	_, err := ask[*kerr.Error](ctx, c, request{group: id, event: e, from: e.from})
	return err
}
