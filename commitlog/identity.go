package commitlog

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The files beside the partitions that say whose directory this is and how it was left.
const (
	lockName       = ".lock"
	cleanName      = ".kafka_cleanshutdown"
	propertiesName = "meta.properties"
	partitionName  = "partition.metadata"
)

// lock takes the lock on the directory that Kafka takes, too. It ends with the process.
func (d *Dir) lock() error {
	path := filepath.Join(d.path, lockName)
	file, err := d.fs.Create(path)
	if err != nil {
		return storageError("locking", err)
	}
	if err := file.TryLock(); err != nil {
		return errors.Join(fmt.Errorf("%s: another process uses this log directory: %w", path, err), file.Close())
	}
	d.lockFile = file
	return nil
}

// identify reads meta.properties and checks that the directory is this broker's, or writes it into a new directory.
func (d *Dir) identify(clusterID string, nodeID int32) error {
	path := filepath.Join(d.path, propertiesName)
	b, err := d.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(b)) == 0 {
		d.id = newID()
		text := fmt.Sprintf("#\n#%s\ncluster.id=%s\ndirectory.id=%s\nnode.id=%d\nversion=1\n",
			time.Now().UTC().Format("Mon Jan 02 15:04:05 MST 2006"), clusterID, encodeID(d.id), nodeID)
		if err := d.fs.WriteFile(path, []byte(text), true); err != nil {
			return storageError("writing "+propertiesName, err)
		}
		return nil
	}
	if err != nil {
		return storageError("reading "+propertiesName, err)
	}
	p := parseProperties(b)
	if p["version"] != "1" {
		return fmt.Errorf("%s: version %q is not 1", path, p["version"])
	}
	if p["cluster.id"] != clusterID && clusterID != "" {
		return fmt.Errorf("%s: the directory belongs to cluster %q, this broker to %q", path, p["cluster.id"], clusterID)
	}
	if p["node.id"] != strconv.Itoa(int(nodeID)) {
		return fmt.Errorf("%s: the directory belongs to node %s, this is node %d", path, p["node.id"], nodeID)
	}
	if d.id, err = decodeID(p["directory.id"]); err != nil {
		return fmt.Errorf("%s: directory.id: %w", path, err)
	}
	return nil
}

func parseProperties(b []byte) map[string]string {
	p := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			p[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return p
}

// newID returns a random id whose text does not begin with a dash, as Kafka's never does.
func newID() uuid.UUID {
	for {
		if id := uuid.New(); encodeID(id)[0] != '-' {
			return id
		}
	}
}

// encodeID writes an id as Kafka does: base64url of its 16 bytes.
func encodeID(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func decodeID(s string) (uuid.UUID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return uuid.UUID{}, err
	}
	return uuid.FromBytes(b)
}

// takeCleanMarker reports whether the directory was closed properly, and removes the marker: from here on it is in use.
func (d *Dir) takeCleanMarker() (bool, error) {
	path := filepath.Join(d.path, cleanName)
	if !d.fs.Exists(path) {
		return false, nil
	}
	if err := errors.Join(d.fs.Remove(path), d.fs.SyncDir(d.path)); err != nil {
		return false, storageError("removing the clean-shutdown marker", err)
	}
	return true, nil
}

// writeCleanMarker says that all logs were closed properly.
func (d *Dir) writeCleanMarker() error {
	b, err := json.Marshal(struct {
		Version     int   `json:"version"`
		BrokerEpoch int64 `json:"brokerEpoch"`
	}{0, -1})
	if err != nil {
		return err
	}
	return d.fs.WriteFile(filepath.Join(d.path, cleanName), b, true)
}

// partitionMetadata writes partition.metadata: version 0 and the topic id.
func partitionMetadata(topicID uuid.UUID) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", encodeID(topicID))
}

// readTopicID reads partition.metadata. ok false: there is none yet, or a crash left it empty.
func (d *Dir) readTopicID(dir string) (id uuid.UUID, ok bool, err error) {
	path := filepath.Join(dir, partitionName)
	b, err := d.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return id, false, nil
	}
	if err != nil {
		return id, false, storageError("reading "+partitionName, err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if text, found := strings.CutPrefix(s.Text(), "topic_id: "); found {
			if id, err = decodeID(text); err != nil {
				return id, false, &CorruptionError{path, -1, -1, err.Error()}
			}
			return id, true, nil
		}
	}
	return id, false, &CorruptionError{path, -1, -1, "no topic_id"}
}

// isPartition reports whether a directory entry is a partition's directory.
func isPartition(e os.DirEntry) bool {
	_, _, ok := splitName(e.Name())
	return ok && e.IsDir()
}
