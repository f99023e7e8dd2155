package tiering

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/google/uuid"

	"varve/metadata"
)

// catalogPage is how many rows are read from the manifest at a time.
const catalogPage = 1000

// A catalog keeps the live segments of partitions in memory, by offset, so that a read costs no query. The slices that it hands out are immutable.
// It is exact for a partition whose only uploader is this process; Load brings what others did.
type catalog struct {
	lister SegmentLister

	mu struct {
		sync.Mutex
		rows map[metadata.TopicPartition][]metadata.RemoteSegment // no entry: not loaded
	}
}

func newCatalog(l SegmentLister) *catalog {
	c := &catalog{lister: l}
	c.mu.rows = map[metadata.TopicPartition][]metadata.RemoteSegment{}
	return c
}

// get returns the live segments if they were loaded.
func (c *catalog) get(tp metadata.TopicPartition) ([]metadata.RemoteSegment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, ok := c.mu.rows[tp]
	return rows, ok
}

// ensure loads the live segments unless they are there.
func (c *catalog) ensure(ctx context.Context, tp metadata.TopicPartition) ([]metadata.RemoteSegment, error) {
	if rows, ok := c.get(tp); ok {
		return rows, nil
	}
	return c.load(ctx, tp)
}

// load reads the live segments from the manifest.
func (c *catalog) load(ctx context.Context, tp metadata.TopicPartition) ([]metadata.RemoteSegment, error) {
	rows := []metadata.RemoteSegment{}
	for from := int64(0); ; {
		page, err := c.lister.LiveSegments(ctx, tp, from, catalogPage)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
		if len(page) < catalogPage {
			break
		}
		from = page[len(page)-1].EndOffset
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.rows[tp] = rows
	return rows, nil
}

// add notes a segment that became live.
func (c *catalog) add(s metadata.RemoteSegment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rows, ok := c.mu.rows[s.TopicPartition]; ok {
		c.mu.rows[s.TopicPartition] = append(slices.Clip(rows), s) // uploads go in offset order
	}
}

// remove notes segments that are live no longer.
func (c *catalog) remove(tp metadata.TopicPartition, ids []uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rows, ok := c.mu.rows[tp]; ok {
		c.mu.rows[tp] = slices.DeleteFunc(slices.Clone(rows), func(s metadata.RemoteSegment) bool { return slices.Contains(ids, s.ID) })
	}
}

// forget drops a partition: what it holds is loaded again when asked for.
func (c *catalog) forget(tp metadata.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.rows, tp)
}

// keep forgets every partition that is not wanted.
func (c *catalog) keep(wanted func(metadata.TopicPartition) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tp := range c.mu.rows {
		if !wanted(tp) {
			delete(c.mu.rows, tp)
		}
	}
}

// tieredEnd is one past the last offset of rows, 0 without any.
func tieredEnd(rows []metadata.RemoteSegment) int64 {
	if len(rows) == 0 {
		return 0
	}
	return rows[len(rows)-1].EndOffset
}

// segmentOf returns the index of the segment that holds offset, or of the first one behind it: offsets between two segments hold no records.
func segmentOf(rows []metadata.RemoteSegment, offset int64) int {
	return sort.Search(len(rows), func(i int) bool { return rows[i].EndOffset > offset })
}
