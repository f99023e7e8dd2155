package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"varve/internal/vfs"
)

// The suffixes of partition directories that are no longer logs.
const (
	deletedDir = "-delete"
	strayDir   = "-stray"
)

// Dir is one log directory: its lock, identity, checkpoints, clean-shutdown marker and its group-commit syncer. It is safe for concurrent use.
type Dir struct {
	path       string
	id         uuid.UUID
	fs         *vfs.FS
	durability Durability
	logger     *slog.Logger
	metrics    *metrics
	failed     func(error)
	lockFile   *vfs.File
	clean      bool // the directory was closed properly before

	// As the checkpoints said when the directory was opened.
	recoveryPoints, logStarts, compacted map[string]int64

	ahead   aheadRule
	syncer  *syncer
	keeper  *keeper
	tails   *tailCache
	files   *openFiles
	flushed bool // all that was in the files when they were opened is durable
	broken  atomic.Pointer[error]

	parent   sync.Mutex  // held while the directory's names are made durable
	newNames atomic.Bool // partition directories were made or renamed

	checkpoints sync.Mutex // one writer of checkpoints at a time
	written     struct{ recovery, start, compacted []byte }

	mu struct {
		sync.Mutex
		names  map[string]struct{}
		logs   map[string]*Log
		closed bool
	}
}

// OpenDir opens or makes a log directory and takes its lock. A directory of another cluster or node is refused.
func OpenDir(path string, o DirOptions) (*Dir, error) {
	d := &Dir{path: path, fs: o.FS, durability: o.Durability, logger: o.Logger, failed: o.Failed, ahead: aheadDefault}
	if d.fs == nil {
		d.fs = vfs.OS()
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	d.files = newOpenFiles()
	d.tails = &tailCache{limit: o.TailBytes}
	if o.TailBytes == 0 {
		d.tails.limit = DefaultTailBytes
	}
	if err := d.fs.Mkdir(path); err != nil {
		return nil, storageError("making a log directory", err)
	}
	if err := d.lock(); err != nil {
		return nil, err
	}
	if err := d.load(o); err != nil {
		return nil, errors.Join(err, d.lockFile.Close())
	}
	d.metrics = newMetrics(o.Registerer, path, d.tails, func() float64 {
		d.mu.Lock()
		defer d.mu.Unlock()
		return float64(len(d.mu.logs))
	})
	d.syncer, d.keeper = newSyncer(d), newKeeper(d)
	go d.syncer.run()
	go d.keeper.run()
	return d, nil
}

// load reads what lies in the directory beside the logs.
func (d *Dir) load(o DirOptions) (err error) {
	if err := d.identify(o.ClusterID, o.NodeID); err != nil {
		return err
	}
	if d.recoveryPoints, err = d.readOffsets(recoveryPointName); err != nil {
		return err
	}
	if d.logStarts, err = d.readOffsets(logStartName); err != nil {
		return err
	}
	if d.compacted, err = d.readOffsets(compactedName); err != nil {
		return err
	}
	if d.clean, err = d.takeCleanMarker(); err != nil {
		return err
	}
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return storageError("listing a log directory", err)
	}
	if !d.clean && d.durability == Fsync && slices.ContainsFunc(entries, isPartition) && vfs.SyncAllReports() {
		// What a killed process wrote is there, but may not be on the disk: one call for all logs instead of two per log.
		if err := d.lockFile.SyncAll(); err != nil {
			return storageError("syncing "+d.path, err)
		}
		d.flushed = true
	}
	if err := d.sweep(entries, d.path, deletedDir, ".tmp"); err != nil {
		return err
	}
	d.mu.names, d.mu.logs = map[string]struct{}{}, map[string]*Log{}
	for _, e := range entries {
		if isPartition(e) {
			d.mu.names[e.Name()] = struct{}{}
		}
	}
	return nil
}

// ID returns the directory id of meta.properties: a new disk has a new one.
func (d *Dir) ID() uuid.UUID { return d.id }

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// Clean reports whether the directory was closed properly before it was opened.
func (d *Dir) Clean() bool { return d.clean }

// Has reports whether the directory holds the log of a partition ("topic-0"), open or not.
func (d *Dir) Has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.mu.names[name]
	return ok
}

// Len is how many logs the directory holds, open or not.
func (d *Dir) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.mu.names)
}

// OpenLog opens, recovers or creates the log of one partition. A directory whose partition.metadata holds another topic id is renamed away (…-stray) first.
// durable is called from the syncer's goroutine, never under a lock, each time the durable end offset has grown.
// After an unclean shutdown that is behind End at first: what the file system may not have written yet is made durable together with that of other logs.
func (d *Dir) OpenLog(name string, topicID uuid.UUID, cfg Config, durable func(end int64)) (*Log, error) {
	if err := d.Failure(); err != nil {
		return nil, err
	}
	if _, _, ok := splitName(name); !ok {
		return nil, fmt.Errorf("%q does not name a partition", name)
	}
	d.mu.Lock()
	open, closed := d.mu.logs[name] != nil, d.mu.closed
	d.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if open {
		return nil, fmt.Errorf("%s: the log is open already", filepath.Join(d.path, name))
	}
	l := &Log{dir: d, name: name, path: filepath.Join(d.path, name), topicID: topicID, grown: durable}
	l.cfg.Store(&cfg)
	l.firstUnstable.Store(-1)
	fresh, err := d.prepare(l)
	if err != nil {
		return nil, err
	}
	if err := l.load(fresh, time.Now()); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.names[name], d.mu.logs[name] = struct{}{}, l
	return l, nil
}

// prepare makes the partition's directory, or takes the one that is there if it is of the same topic. fresh: it was made.
func (d *Dir) prepare(l *Log) (fresh bool, err error) {
	if d.fs.Exists(l.path) {
		id, ok, err := d.readTopicID(l.path)
		if err != nil {
			return false, err
		}
		if ok && id == l.topicID {
			return false, nil
		}
		if !ok {
			return false, d.name(l)
		}
		stray := fmt.Sprintf("%s.%s%s", l.path, hexID(id), strayDir)
		d.logger.Warn("directory of another topic moved aside", "from", l.path, "to", stray)
		if err := d.fs.Rename(l.path, stray); err != nil {
			return false, storageError("moving a stray log", err)
		}
	}
	if err := d.fs.Mkdir(l.path); err != nil {
		return false, storageError("making a log", err)
	}
	d.newNames.Store(true)
	return true, d.name(l)
}

// name writes partition.metadata. The syncer makes it durable with the directory's names.
func (d *Dir) name(l *Log) error {
	if err := d.fs.WriteFile(filepath.Join(l.path, partitionName), partitionMetadata(l.topicID), false); err != nil {
		return storageError("writing "+partitionName, err)
	}
	l.newNames()
	return nil
}

func hexID(id uuid.UUID) string { return fmt.Sprintf("%x", id[:]) }

// syncNames makes the names in the partition's directory durable, and the directory's own.
func (d *Dir) syncNames(l *Log) error {
	if err := d.fs.SyncDir(l.path); err != nil {
		if l.closed.Load() {
			return errDropped
		}
		return storageError("syncing a directory", err)
	}
	// Whoever finds that somebody else is at it waits for him: his own directory may be among the new ones.
	d.parent.Lock()
	defer d.parent.Unlock()
	if !d.newNames.Swap(false) {
		return nil
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return storageError("syncing a directory", err)
	}
	return nil
}

// Remove closes the log and removes its directory (renamed …-delete first, removed after the delay).
func (d *Dir) Remove(l *Log) error {
	l.closed.Store(true)
	d.mu.Lock()
	delete(d.mu.logs, l.name)
	delete(d.mu.names, l.name)
	d.mu.Unlock()
	l.letGo()
	l.structure.Lock()
	defer l.structure.Unlock()
	gone := fmt.Sprintf("%s.%s%s", l.path, hexID(uuid.New()), deletedDir)
	if err := d.fs.Rename(l.path, gone); err != nil {
		return storageError("removing a log", err)
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return storageError("syncing a directory", err)
	}
	d.keeper.remove(gone, time.Now().Add(l.Config().FileDeleteDelay))
	return nil
}

// letGo closes the files that only the log itself holds open.
func (l *Log) letGo() {
	for _, s := range l.view.Load().segments {
		s.mu.Lock()
		s.mu.dropped = true
		s.mu.Unlock()
		s.sealing.Lock()
		s.sealing.dropped = true
		s.sealing.Unlock()
		s.tail.drop()
		s.rest()
	}
}

// fail marks the directory as one that can no longer be trusted.
func (d *Dir) fail(err error) {
	if d.broken.CompareAndSwap(nil, &err) {
		d.syncer.nudge()
	}
}

// Failure returns why the directory cannot be written any more.
func (d *Dir) Failure() error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Close makes everything durable, writes checkpoints, snapshots and the clean-shutdown marker, and releases the lock. Nobody may append any more.
func (d *Dir) Close() error {
	d.mu.Lock()
	if d.mu.closed {
		d.mu.Unlock()
		return nil
	}
	d.mu.closed = true
	logs := make([]*Log, 0, len(d.mu.logs))
	for _, l := range d.mu.logs {
		logs = append(logs, l)
	}
	unopened := len(d.mu.names) > len(logs)
	d.mu.Unlock()
	for _, l := range logs {
		l.closed.Store(true)
	}
	d.syncer.close()
	d.keeper.close()
	err := d.Failure()
	if err == nil {
		err = closeLogs(logs)
	}
	if err == nil {
		err = d.writeCheckpoints()
	}
	if err == nil && (d.clean || !unopened) { // a log that was left unopened after a crash still has to be recovered
		err = d.writeCleanMarker()
	}
	for _, l := range logs {
		l.letGo()
	}
	return errors.Join(err, d.lockFile.Close())
}

// closeLogs makes logs durable and complete, several at a time.
func closeLogs(logs []*Log) error {
	errs := make([]error, len(logs))
	inParallel(len(logs), func(i int) { errs[i] = logs[i].finish() })
	return errors.Join(errs...)
}

// finish makes the log durable and writes what a clean start needs: the indexes of the active segment and a producer snapshot at the end.
func (l *Log) finish() error {
	active := l.view.Load().active()
	cut := active.w.ahead.until > active.size()
	if err := l.cutAhead(active); err != nil {
		return err
	}
	if cut || l.unsettled() {
		end, generation, err := l.persist()
		if err != nil {
			return err
		}
		l.setDurable(end, generation)
	}
	end := l.End()
	if x := active.mem.Load(); x != nil { // else nothing was appended since a clean start
		var snapshot []byte
		if active.size() > 0 { // else the one at its base is the one at the end
			snapshot = l.producers.encode()
		}
		active.seal(x, end, snapshot)
	}
	for _, s := range l.view.Load().segments {
		if err := l.finishSeal(s); err != nil { // those that found the disk full, and the active one below
			return err
		}
	}
	l.clean.Store(true)
	return nil
}
