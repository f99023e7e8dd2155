package commitlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"varve/commitlog/record"
)

// txnIndex prints a .txnindex.
func (d *Dumper) txnIndex(ctx context.Context, f *dumpFile) {
	d.eachEntry(ctx, f, txnEntrySize, func(i int64, e []byte) bool {
		if version := binary.BigEndian.Uint16(e); version != 0 {
			d.Problem(&CorruptionError{f.path, i * txnEntrySize, -1, fmt.Sprintf("entry of version %d, not 0", version)})
			return false
		}
		a := decodeAborted(e)
		d.printf("version: 0 producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStableOffset)
		return true
	})
}

// snapshot prints a producer snapshot, a damaged one as far as its entries reach.
func (d *Dumper) snapshot(b []byte) error {
	_, err := decodeProducers(b, time.UnixMilli(0), math.MaxInt64)
	if len(b) < snapshotHeader || binary.BigEndian.Uint16(b) != snapshotVersion {
		return err
	}
	for e := b[snapshotHeader:]; len(e) >= snapshotEntrySize; e = e[snapshotEntrySize:] {
		id, p := decodeProducer(e)
		d.printf("producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d", id, p.epoch, p.coordinatorEpoch,
			optional(p.txnStart, p.txnStart >= 0), p.lastTimestamp)
		if last, ok := p.last(); ok {
			d.printf(" firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
				record.SubSequence(last.lastSequence, last.offsetDelta), last.lastSequence, last.lastOffset, last.offsetDelta, last.timestamp)
		}
		d.printf("\n")
	}
	return err
}

func (d *Dumper) epochs(entries []EpochEntry) {
	for _, e := range entries {
		d.printf("epoch: %d startOffset: %d\n", e.Epoch, e.StartOffset)
	}
}

func (d *Dumper) epochCheckpoint(b []byte) error {
	entries, err := decodeEpochs(b)
	if err != nil {
		d.lines(b)
	}
	d.epochs(entries)
	return err
}

// offsetCheckpoint prints one of the *-offset-checkpoint files, by partition.
func (d *Dumper) offsetCheckpoint(b []byte) error {
	offsets, err := decodeOffsets(b)
	if err != nil {
		d.lines(b)
	}
	for _, name := range slices.Sorted(maps.Keys(offsets)) {
		d.printf("partition: %s offset: %d\n", name, offsets[name])
	}
	return err
}

// Of a damaged checkpoint so much is shown.
const (
	shownLines     = 1000
	shownLineBytes = 200
)

// lines prints the lines of a damaged checkpoint, quoted: they may be anything.
func (d *Dumper) lines(b []byte) {
	n := 0
	for line := range bytes.Lines(b) {
		if n++; n > shownLines {
			d.printf("further lines are not shown\n")
			return
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		d.printf("line %d: %q\n", n, line[:min(len(line), shownLineBytes)])
	}
}
