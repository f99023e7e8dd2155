package commitlog

import (
	"encoding/binary"
	"errors"
	"io/fs"
)

// AbortedTxn is one aborted transaction that a read_committed reader must skip: the data of ProducerID from FirstOffset up to its abort
// marker at LastOffset.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64
	LastOffset       int64
	LastStableOffset int64 // of the log, as it was after the marker
}

// txnEntrySize is the size of an entry of .txnindex: version int16 = 0 and the four fields of AbortedTxn.
const txnEntrySize = 2 + 4*8

func (a AbortedTxn) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(a.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(a.FirstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(a.LastOffset))
	return binary.BigEndian.AppendUint64(b, uint64(a.LastStableOffset))
}

func decodeAborted(b []byte) AbortedTxn {
	return AbortedTxn{
		ProducerID:       int64(binary.BigEndian.Uint64(b[2:])),
		FirstOffset:      int64(binary.BigEndian.Uint64(b[10:])),
		LastOffset:       int64(binary.BigEndian.Uint64(b[18:])),
		LastStableOffset: int64(binary.BigEndian.Uint64(b[26:])),
	}
}

// validTxnIndex reports whether b is a sound .txnindex of a segment that begins at base.
func validTxnIndex(b []byte, base int64) bool {
	if len(b)%txnEntrySize != 0 {
		return false
	}
	last := base - 1
	for ; len(b) > 0; b = b[txnEntrySize:] {
		e := decodeAborted(b)
		if binary.BigEndian.Uint16(b) != 0 || e.LastOffset <= last || e.FirstOffset > e.LastOffset {
			return false
		}
		last = e.LastOffset
	}
	return true
}

// writeAborted puts an entry behind the counted ones of .txnindex, which the first one makes. It counts when its marker is in the log:
// until then the next one overwrites it. REQUIRES: the writer.
func (s *segment) writeAborted(a AbortedTxn) error {
	file, err := s.fs.Create(s.path(txnSuffix))
	if err == nil {
		_, err = file.WriteAt(a.append(nil), int64(s.aborted.Load())*txnEntrySize)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return storageError("writing a transaction index", err)
	}
	return nil
}

// readAborted returns the entries of the segment's .txnindex.
func (s *segment) readAborted() ([]byte, error) {
	n := int(s.aborted.Load())
	if n == 0 {
		return nil, nil
	}
	if b := s.txns.Load(); b != nil {
		return *b, nil
	}
	b, err := s.fs.ReadFile(s.path(txnSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errDropped
	}
	if err != nil {
		return nil, storageError("reading a transaction index", err)
	}
	return b[:min(n*txnEntrySize, len(b)/txnEntrySize*txnEntrySize)], nil
}

// Aborted lists the aborted transactions that overlap [from, upTo), by last offset.
func (l *Log) Aborted(from, upTo int64) ([]AbortedTxn, error) {
	for {
		v := l.view.Load()
		out, err := v.aborted(from, upTo)
		if !l.retry(v, &err) {
			return out, err
		}
	}
}

func (v *view) aborted(from, upTo int64) (out []AbortedTxn, err error) {
	for _, s := range v.segments[v.find(from):] {
		b, err := s.readAborted()
		if err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[txnEntrySize:] {
			a := decodeAborted(b)
			if a.LastOffset >= from && a.FirstOffset < upTo {
				out = append(out, a)
			}
			if a.LastStableOffset >= upTo {
				return out, nil
			}
		}
	}
	return out, nil
}
