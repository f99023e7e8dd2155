package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/internal/config"
	"varve/metadata"
)

// compacting is a manager of topic "t", compacted, with two partitions, whose cleaner does nothing by itself: its backoff is long.
func compacting(t *testing.T, overrides map[string]string) (*Manager, [2]*Partition) {
	t.Helper()
	d := openDir(t, t.TempDir())
	broker, err := config.NewBroker(map[string]string{"node.id": "1", "log.cleaner.backoff.ms": "3600000"})
	if err != nil {
		t.Fatal(err)
	}
	m := NewManager(Config{Self: self, Dirs: []*commitlog.Dir{d}, Broker: func() *config.Broker { return broker }, Store: &ledger{}})
	t.Cleanup(func() {
		m.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	id := uuid.New()
	im := image(id, 1, uuid.Nil, nil)
	topic := im.Topics[id]
	topic.Configs = overrides
	second := *topic.Partitions[0]
	second.Partition = 1
	topic.Partitions = append(topic.Partitions, &second)
	m.Apply(im)
	var out [2]*Partition
	for i := range out {
		key := metadata.TopicPartition{TopicID: id, Partition: int32(i)}
		eventually(t, "leadership", func() bool {
			p, err := m.Partition(key)
			out[i] = p
			return err == nil && p.Leading()
		})
	}
	return m, out
}

// fill appends n batches over four keys, so that most are superseded, and waits until they can be compacted.
func fill(t *testing.T, p *Partition, n int) {
	t.Helper()
	for i := range n {
		b := record.NewBuilder().Add(time.Now().UnixMilli(), []byte(fmt.Sprint("k", i%4)), []byte(strings.Repeat("v", 100))).Build()
		if _, err := p.Append(b, -1, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "durable, sealed segments", func() bool {
		s := p.Log().Segments()
		return p.Offsets().LastStable == p.Log().End() && p.Log().Dirty(p.Log().End(), time.Now()).To == s[len(s)-1].BaseOffset
	})
}

var smallCompacted = map[string]string{"cleanup.policy": "compact", "internal.segment.bytes": "1000", "min.cleanable.dirty.ratio": "0"}

func TestTheCleanerCompactsTheDirtiestLogFirst(t *testing.T) {
	m, p := compacting(t, smallCompacted)
	fill(t, p[0], 20)
	fill(t, p[1], 200)
	for range 2 {
		if !m.cleaner.cleanDirtiest(time.Now()) {
			t.Fatal("two logs are due")
		}
	}
	if m.cleaner.cleanDirtiest(time.Now()) {
		t.Fatal("a third pass found something")
	}
	for i, p := range p {
		if p.Log().Size() > 2500 { // four records and the active segment
			t.Errorf("partition %d has %d bytes", i, p.Log().Size())
		}
	}
	fill(t, p[0], 20) // next to nothing is clean there
	fill(t, p[1], 8)
	if best, d := m.cleaner.dirtiest(time.Now()); best != p[0] {
		t.Errorf("partition %d is taken for the dirtiest, %+v", best.Key().Partition, d)
	}
}

// A topic that is not compacted, and one whose share of dirty bytes or whose age does not ask for it, is left alone.
func TestTheCleanerFollowsTheTopicsSettings(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		due      bool
	}{
		"delete":              {map[string]string{"cleanup.policy": "delete"}, false},
		"compact,delete":      {map[string]string{"cleanup.policy": "compact,delete"}, true},
		"too clean":           {map[string]string{"min.cleanable.dirty.ratio": "1"}, false},
		"too clean, but late": {map[string]string{"min.cleanable.dirty.ratio": "1", "max.compaction.lag.ms": "60000"}, true},
		"too young":           {map[string]string{"min.compaction.lag.ms": "3600000"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{}
			for _, layer := range []map[string]string{smallCompacted, c.settings} {
				for k, v := range layer {
					settings[k] = v
				}
			}
			m, p := compacting(t, settings)
			for i := range 50 {
				b := record.NewBuilder().Add(time.Now().UnixMilli(), []byte("k"), []byte(fmt.Sprint(i, strings.Repeat("v", 100)))).Build()
				if _, err := p[0].Append(b, -1, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			soon := time.Now().Add(2 * time.Minute)
			eventually(t, "index files", func() bool {
				d := p[0].Log().Dirty(p[0].Offsets().LastStable, time.Now().Add(24*time.Hour))
				s := p[0].Log().Segments()
				return d.To == s[len(s)-1].BaseOffset
			})
			if _, d := m.cleaner.dirtiest(soon); d.Due != c.due {
				t.Errorf("due is %v: %+v", d.Due, d)
			}
		})
	}
}

// A damaged log is set aside and said once; it goes on serving, and the others are compacted.
func TestADamagedLogDoesNotStopTheCleaner(t *testing.T) {
	m, p := compacting(t, smallCompacted)
	fill(t, p[0], 50)
	fill(t, p[1], 20)
	path := filepath.Join(p[0].Log().DirPath(), p[0].Log().Name(), "00000000000000000000.log")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{0xff}, 100); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	before := p[0].Log().Size()
	for range 2 {
		if !m.cleaner.cleanDirtiest(time.Now()) {
			t.Fatal("one log after the other: first the damaged, then the sound one")
		}
	}
	if m.cleaner.cleanDirtiest(time.Now()) || m.cleaner.uncleanable() != 1 {
		t.Errorf("%v partitions are set aside", m.cleaner.uncleanable())
	}
	if p[0].Log().Size() != before || p[1].Log().Size() > 2500 {
		t.Errorf("%d bytes of the damaged log, %d of the sound one", p[0].Log().Size(), p[1].Log().Size())
	}
	mustAppend(t, p[0])
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.cleaned")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheCleanerIsThrottled(t *testing.T) {
	m, _ := compacting(t, smallCompacted)
	wait := m.throttle(100 << 20)
	start := time.Now()
	for range 24 { // 24 MiB, of which 4 are a burst
		if err := wait(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("20 MiB at 100 MiB/s took %v", took)
	}
	m.cancel()
	if wait(1) == nil {
		t.Error("a pass goes on after the manager was closed")
	}
}

func TestClosingEndsThePass(t *testing.T) {
	m, p := compacting(t, smallCompacted)
	fill(t, p[0], 50)
	m.Close()
	before := p[0].Log().Size()
	if m.cleaner.cleanDirtiest(time.Now()) || p[0].Log().Size() != before {
		t.Errorf("compacted after Close: %d bytes of %d", p[0].Log().Size(), before)
	}
}
