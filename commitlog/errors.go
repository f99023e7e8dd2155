package commitlog

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// CorruptionError says that a local file does not hold what it should. It is a KAFKA_STORAGE_ERROR to clients.
type CorruptionError struct {
	Path     string
	Position int64 // byte in the file, -1: the file as a whole
	Offset   int64 // the first offset concerned, -1: unknown
	Reason   string
}

// Error says where and why.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s: corrupt at byte %d (offset %d): %s", e.Path, e.Position, e.Offset, e.Reason)
}

// Unwrap makes it a KAFKA_STORAGE_ERROR.
func (e *CorruptionError) Unwrap() error { return kerr.KafkaStorageError }

// errDropped tells a reader that a segment went while it looked at it: it takes the newest view and tries again.
var errDropped = errors.New("segment dropped")

// errDiskFull tells the syncer that a file could not be written, which is no reason to distrust the disk. A failed sync is never this.
var errDiskFull = errors.New("disk full")

var errClosed = fmt.Errorf("%w: the log is closed", kerr.KafkaStorageError)

func storageError(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", kerr.KafkaStorageError, doing, err)
}

// noSpace reports whether a write failed for want of space: nothing is wrong with the disk.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Error says which offsets there are.
func (e *offsetError) Error() string {
	return fmt.Sprintf("%v: %s has local offsets [%d, %d], not %d", kerr.OffsetOutOfRange, e.name, e.start, e.end, e.offset)
}
