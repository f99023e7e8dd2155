package group

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// idleGroup is a group whose offsets may expire.
type idleGroup struct {
	id       string
	passable bool // empty and quiet: it goes with the last of its offsets
}

// idleGroups are the groups of a shard whose offsets may expire.
func idleGroups(machines map[string]anyGroup, quiet time.Time) []idleGroup {
	var out []idleGroup
	for id, m := range machines {
		if m.(keeper).forgets() {
			_, passable := m.idle(quiet)
			out = append(out, idleGroup{id, passable})
		}
	}
	return out
}

// expire looks for expired offsets every RetentionCheckInterval.
func (c *Coordinator) expire() {
	for c.pause(c.cfg.RetentionCheckInterval); c.ctx.Err() == nil; c.pause(c.cfg.RetentionCheckInterval) {
		for _, s := range c.shards {
			c.expireShard(s)
		}
	}
}

// expireShard forgets the expired offsets of a shard, and its empty groups that have none left. What fails is found
// again by the next pass.
func (c *Coordinator) expireShard(s *shard) {
	// Whatever was accepted before quiet is in Postgres, or was refused: nothing older is still on its way.
	quiet := c.clock.now().Add(-2 * c.cfg.CommitTimeout)
	groups, err := inspect(c.ctx, c, s, func(m map[string]anyGroup) []idleGroup { return idleGroups(m, quiet) })
	if err != nil {
		return // another broker's, or not loaded yet
	}
	for _, g := range groups {
		if c.ctx.Err() != nil || c.clock.frozen() {
			return
		}
		c.expireGroup(g, quiet)
	}
}

func (c *Coordinator) expireGroup(g idleGroup, quiet time.Time) {
	offsets, err := c.cfg.Store.FetchOffsets(c.ctx, g.id, nil)
	if c.observed(err) != nil {
		return
	}
	n, refused := askTrim[int](c.ctx, c, g.id, func(k keeper) ([]metadata.Offset, any) {
		if k == nil {
			return nil, 0
		}
		gone := k.expired(offsets, c.topicName, c.cfg.OffsetsRetention, c.clock.now())
		return gone, len(gone)
	})
	if refused != nil {
		return
	}
	if n > 0 {
		c.metrics.expiredOffsets.Add(float64(n))
		c.log.Info("offsets expired", "group", g.id, "offsets", n, "left", len(offsets)-n)
	}
	if n == len(offsets) && g.passable && c.deleteGroup(c.ctx, g.id, quiet) == nil {
		c.metrics.expired.Inc()
		c.log.Info("group expired", "group", g.id)
	}
}

// topicName is empty for a topic that is not in the image.
func (c *Coordinator) topicName(id metadata.TopicID) string {
	if t := c.cfg.Image().Topics[id]; t != nil {
		return t.Name
	}
	return ""
}

// deleteGroup deletes an empty group; with idleSince, only if nothing happened to it since.
func (c *Coordinator) deleteGroup(ctx context.Context, id string, idleSince time.Time) *kerr.Error {
	e := deleteEvent{from: c.ticket(), idleSince: idleSince}
	_, err := ask[*kerr.Error](ctx, c, request{group: id, event: e, from: e.from})
	return err
}
