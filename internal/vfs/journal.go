package vfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Journal records what happens below a directory and rebuilds what a power loss after any operation may have left: a crashable file
// system on top of the real one. The directory must be empty when the recording begins.
type Journal struct {
	root string
	mu   struct {
		sync.Mutex
		ops []Op
	}
}

// NewJournal returns an empty journal of root.
func NewJournal(root string) *Journal { return &Journal{root: root} }

// FS returns the file system whose operations below root are recorded.
func (j *Journal) FS() *FS { return Hooked(j.record) }

func (j *Journal) record(op Op) error {
	if op.Kind == Read {
		return nil
	}
	if op.Kind == Read {
		return nil
	}
	op.Data = slices.Clone(op.Data)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.ops = append(j.mu.ops, op)
	return nil
}

// Len returns the number of operations so far.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.mu.ops)
}

// node is a file or directory: as running processes see it, and as it certainly is on the disk.
type node struct {
	dir               bool
	children, durable map[string]*node // directories
	data, synced      []byte           // files
	unsynced          []Op             // writes and truncations since synced
}

func newNode(dir bool) *node {
	n := &node{dir: dir}
	if dir {
		n.children, n.durable = map[string]*node{}, map[string]*node{}
	}
	return n
}

// Crash writes into the empty directory to what may be left below root when the power fails after the first n operations. With a nil
// rng everything that was not synced is lost; else each name and write that was not synced survives by chance, writes perhaps in part.
func (j *Journal) Crash(n int, to string, rng *rand.Rand) error {
	j.mu.Lock()
	ops := j.mu.ops[:n]
	j.mu.Unlock()
	root := newNode(true)
	for i, op := range ops {
		if err := j.apply(root, op); err != nil {
			return fmt.Errorf("operation %d, %s %s: %w", i, op.Kind, op.Path, err)
		}
	}
	return root.write(to, rng)
}

// find returns the directory and name of a path below root, and the node there, if any.
func (j *Journal) find(root *node, path string) (parent *node, name string, at *node) {
	rel, err := filepath.Rel(j.root, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return nil, "", nil
	}
	if rel == "." {
		return nil, "", root
	}
	parts := strings.Split(rel, string(os.PathSeparator))
	for parent = root; len(parts) > 1; parts = parts[1:] {
		if parent = parent.children[parts[0]]; parent == nil {
			return nil, "", nil
		}
	}
	return parent, parts[0], parent.children[parts[0]]
}

func (j *Journal) apply(root *node, op Op) error {
	if op.Kind == SyncAll {
		root.syncAll()
		return nil
	}
	parent, name, at := j.find(root, op.Path)
	switch op.Kind {
	case Create, Mkdir:
		if at == nil && parent != nil {
			parent.children[name] = newNode(op.Kind == Mkdir)
		}
		return nil
	case Remove:
		if parent != nil {
			delete(parent.children, name)
		}
		return nil
	case Rename:
		if at == nil {
			return nil // the caller was told
		}
		target, as, _ := j.find(root, op.To)
		delete(parent.children, name)
		target.children[as] = at
		return nil
	}
	if at == nil {
		return nil // written to after its name was gone
	}
	switch op.Kind {
	case SyncDir:
		at.durable = maps.Clone(at.children)
	case Sync:
		at.synced, at.unsynced = slices.Clone(at.data), nil
	case Write, Truncate:
		at.data = play(at.data, op, len(op.Data))
		at.unsynced = append(at.unsynced, op)
	}
	return nil
}

func (n *node) syncAll() {
	n.durable = maps.Clone(n.children)
	n.synced, n.unsynced = slices.Clone(n.data), nil
	for _, child := range n.children {
		child.syncAll()
	}
}

// play applies a truncation, or the first n bytes of a write.
func play(data []byte, op Op, n int) []byte {
	end := op.Offset + int64(n)
	if op.Kind == Truncate {
		if op.Offset < int64(len(data)) {
			return data[:op.Offset:op.Offset]
		}
		end = op.Offset
	}
	if grow := end - int64(len(data)); grow > 0 {
		data = append(slices.Clip(data), make([]byte, grow)...)
	} else {
		data = slices.Clone(data)
	}
	copy(data[op.Offset:], op.Data[:n])
	return data
}

func (n *node) write(to string, rng *rand.Rand) error {
	if !n.dir {
		return os.WriteFile(to, n.survives(rng), 0o644)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	names := maps.Clone(n.durable)
	if rng != nil {
		for name := range n.children {
			if names[name] == nil {
				names[name] = nil
			}
		}
	}
	survivors := map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		child := n.durable[name]
		if rng != nil && rng.IntN(2) == 0 {
			child = n.children[name]
		}
		if child != nil {
			survivors[name] = child
		}
	}
	n.keepRenamed(survivors)
	for _, name := range slices.Sorted(maps.Keys(survivors)) {
		if err := survivors[name].write(filepath.Join(to, name), rng); err != nil {
			return err
		}
	}
	return nil
}

// keepRenamed gives files that were renamed one of their two names if chance took both: a rename happens or not.
func (n *node) keepRenamed(survivors map[string]*node) {
	kept := map[*node]bool{}
	for _, child := range survivors {
		kept[child] = true
	}
	for old, child := range n.durable {
		for now, same := range n.children {
			if same != child || kept[child] {
				continue
			}
			name := now
			if survivors[old] == nil {
				name = old
			}
			survivors[name], kept[child] = child, true
		}
	}
}

// survives returns a file's bytes after the power loss.
func (n *node) survives(rng *rand.Rand) []byte {
	data := slices.Clone(n.synced)
	if rng == nil {
		return data
	}
	for _, op := range n.unsynced {
		switch rng.IntN(4) {
		case 0: // lost
		case 1: // torn
			if len(op.Data) > 0 {
				data = play(data, op, rng.IntN(len(op.Data)))
			}
		default:
			data = play(data, op, len(op.Data))
		}
	}
	return data
}
