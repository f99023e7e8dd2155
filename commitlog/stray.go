package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"
)

// SetAside renames the directories of logs that are not open and do not belong here any more (…-stray), as Kafka does: their replica was taken away, or their
// topic deleted, while the broker was down. Nothing is removed: that is the operator's to decide. Nobody opens logs meanwhile. It returns how many there were.
func (d *Dir) SetAside(belongs func(name string) bool) (moved int, err error) {
	d.mu.Lock()
	var strays []string
	for name := range d.mu.names {
		if d.mu.logs[name] == nil && !belongs(name) {
			strays = append(strays, name)
		}
	}
	d.mu.Unlock()
	var errs []error
	for _, name := range strays {
		path := filepath.Join(d.path, name)
		id, ok, err := d.readTopicID(path)
		if err != nil || !ok {
			id = uuid.New() // it only has to tell directories apart
		}
		stray := fmt.Sprintf("%s.%s%s", path, hexID(id), strayDir)
		if err := d.fs.Rename(path, stray); err != nil {
			errs = append(errs, storageError("moving a stray log", err))
			continue
		}
		d.logger.Warn("log moved aside: this broker has no replica of the partition any more. Remove the directory when nobody needs it", "from", path, "to", stray)
		moved++
		d.mu.Lock()
		delete(d.mu.names, name)
		d.mu.Unlock()
	}
	if moved > 0 {
		if err := d.fs.SyncDir(d.path); err != nil {
			errs = append(errs, storageError("syncing a directory", err))
		}
	}
	return moved, errors.Join(errs...)
}
