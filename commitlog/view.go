package commitlog

import (
	"errors"
	"fmt"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"
)

// view is the immutable list of a log's segments by base offset; the last one is active. The writer replaces it, readers load it.
type view struct {
	segments []*segment
}

func (v *view) active() *segment { return v.segments[len(v.segments)-1] }
func (v *view) base() int64      { return v.segments[0].base }
func (v *view) end() int64       { return v.active().end() }

// endOf returns the end offset of segment i.
func (v *view) endOf(i int) int64 {
	if i+1 < len(v.segments) {
		return v.segments[i+1].base
	}
	return v.segments[i].end()
}

// find returns the index of the segment that holds offset, 0 for offsets below the first.
func (v *view) find(offset int64) int {
	i := sort.Search(len(v.segments), func(i int) bool { return v.segments[i].base > offset })
	return max(i-1, 0)
}

// with returns a view of these segments.
func (v *view) with(segments ...*segment) *view { return &view{segments: segments} }

// change replaces the view by f of it. The writer appends and replaces the last segment while compaction replaces others.
func (l *Log) change(f func(v *view) *view) {
	for v := l.view.Load(); !l.view.CompareAndSwap(v, f(v)); {
		v = l.view.Load()
	}
}

// retry reports whether a reader that met a dropped segment in v should look again: there is a newer view. Else *err says why not.
func (l *Log) retry(v *view, err *error) bool {
	if !errors.Is(*err, errDropped) {
		return false
	}
	if l.view.Load() != v {
		return true
	}
	if *err = errClosed; !l.closed.Load() {
		*err = fmt.Errorf("%w: %s is being truncated", kerr.KafkaStorageError, l.name)
	}
	return false
}
