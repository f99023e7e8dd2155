package commitlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"varve/internal/vfs"
)

// DumpOptions says what a Dumper shows. The fields are the options of Kafka's DumpLogSegments.
type DumpOptions struct {
	Deep         bool  // the records of each batch, not only the batch
	Data         bool  // keys and values, too; implies Deep
	SkipMetadata bool  // of a record show key and value only
	SanityOnly   bool  // indexes: only the check by which Kafka decides whether to build them anew
	VerifyOnly   bool  // indexes: only compare them with the .log
	MaxBytes     int64 // read at most so many bytes of each .log; 0: all
}

// Dumper prints the files of a log directory as Kafka's DumpLogSegments does: of sound files the same bytes. Where that tool dies of
// damage, a Dumper says what is wrong and goes on. It only reads. Of a .log or an index it holds a batch or a MiB in memory, whatever lengths the
// file speaks of. It may look at the files of a running broker: of what is still being written it shows what the file holds. Not for concurrent use.
type Dumper struct {
	fs       *vfs.FS
	out      *bufio.Writer
	errs     io.Writer
	o        DumpOptions
	report   dumpReport
	problems int // of all files
	ofFile   int // of the current one
}

// shownProblems is how many problems of one file are worth reading.
const shownProblems = 20

// smallFile bounds the files that are read whole, bytes: checkpoints and snapshots.
const smallFile = 256 << 20

// NewDumper returns a dumper that prints on out, and problems and what Finish says on errs.
func NewDumper(out, errs io.Writer, o DumpOptions) *Dumper {
	o.Deep = o.Deep || o.Data
	return &Dumper{fs: vfs.OS(), out: bufio.NewWriter(out), errs: errs, o: o}
}

// File prints the file at path, whose name tells what it is. It fails when out does or ctx ends; trouble with the file goes to errs.
func (d *Dumper) File(ctx context.Context, path string) error {
	d.begin(path)
	f, err := d.open(path)
	if err != nil {
		d.Problem(err)
		return d.end(ctx)
	}
	defer f.close()
	d.dump(ctx, f)
	return d.end(ctx)
}

// Bytes prints data as File prints a file named path, but without what lies beside it: an index is not compared with its log.
func (d *Dumper) Bytes(ctx context.Context, path string, data []byte) error {
	d.begin(path)
	d.dump(ctx, &dumpFile{ReaderAt: bytes.NewReader(data), path: path, size: int64(len(data)), alone: true})
	return d.end(ctx)
}

// Epochs prints a history of leader epochs as File prints a leader-epoch-checkpoint.
func (d *Dumper) Epochs(ctx context.Context, path string, entries []EpochEntry) error {
	d.begin(path)
	d.epochs(entries)
	return d.end(ctx)
}

// Problem says on errs what cannot be read.
func (d *Dumper) Problem(err error) {
	d.problems++
	switch d.ofFile++; {
	case d.ofFile <= shownProblems:
		d.say(err.Error())
	case d.ofFile == shownProblems+1:
		d.say("further problems of this file are not shown")
	}
}

// Finish says on errs where indexes and logs of all files disagree and where offsets have gaps, as Kafka's tool does at its end. The error
// counts the problems: none, and everything was readable.
func (d *Dumper) Finish() error {
	if err := d.report.print(d.errs); err != nil {
		return err
	}
	if d.problems > 0 {
		return fmt.Errorf("not everything could be read (problems: %d)", d.problems)
	}
	return nil
}

func (d *Dumper) begin(path string) {
	d.report.begin(path)
	d.printf("Dumping %s\n", path)
}

func (d *Dumper) end(ctx context.Context) error {
	d.ofFile = 0
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.out.Flush()
}

// stopped reports whether printing more is of no use.
func (d *Dumper) stopped(ctx context.Context) bool {
	_, err := d.out.Write(nil)
	return err != nil || ctx.Err() != nil
}

// printf writes to out, which keeps its first error for Flush.
func (d *Dumper) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// say writes a line to errs, behind what out has.
func (d *Dumper) say(line string) {
	_ = d.out.Flush() // its error stays and stops the dump
	_, _ = fmt.Fprintln(d.errs, line)
}

func (d *Dumper) dump(ctx context.Context, f *dumpFile) {
	name := filepath.Base(f.path)
	switch filepath.Ext(name) {
	case logSuffix:
		d.log(ctx, f)
	case indexSuffix:
		d.index(ctx, f)
	case timeSuffix:
		d.timeIndex(ctx, f)
	case txnSuffix:
		d.txnIndex(ctx, f)
	case snapshotSuffix:
		d.whole(f, d.snapshot)
	default:
		switch {
		case name == epochCheckpointName:
			d.whole(f, d.epochCheckpoint)
		case strings.HasSuffix(name, "-offset-checkpoint"):
			d.whole(f, d.offsetCheckpoint)
		default:
			d.say("Ignoring unknown file " + f.path)
		}
	}
}

// whole reads a small file for show.
func (d *Dumper) whole(f *dumpFile, show func([]byte) error) {
	if f.size > smallFile {
		d.Problem(f.wrong("%d bytes are too many for such a file", f.size))
		return
	}
	b := make([]byte, f.size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		d.Problem(f.wrong("%w", err))
		return
	}
	if err := show(b); err != nil {
		d.Problem(f.wrong("%w", err))
	}
}

// dumpFile is an open file.
type dumpFile struct {
	io.ReaderAt
	path  string
	size  int64
	alone bool // nothing lies beside it
	file  *vfs.File
}

func (d *Dumper) open(path string) (*dumpFile, error) {
	file, err := d.fs.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &dumpFile{ReaderAt: file, path: path, size: size, file: file}, nil
}

func (f *dumpFile) close() {
	if f != nil && f.file != nil {
		_ = f.file.Close() // it was only read
	}
}

func (f *dumpFile) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{f.path}, args...)...)
}

// stem is the name up to its first dot.
func (f *dumpFile) stem() string {
	stem, _, _ := strings.Cut(filepath.Base(f.path), ".")
	return stem
}

// base returns the offset that the name begins with: of a local file all of it, of an object in the bucket what stands before the end offset.
func (d *Dumper) base(f *dumpFile) int64 {
	digits, _, _ := strings.Cut(f.stem(), "-")
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		d.Problem(f.wrong("the name does not begin with an offset: taken for 0"))
		return 0
	}
	return base
}

// beside opens the file of the same segment with another suffix, nil without it.
func (d *Dumper) beside(f *dumpFile, suffix string) *dumpFile {
	if f.alone {
		return nil
	}
	other, err := d.open(filepath.Join(filepath.Dir(f.path), f.stem()+suffix))
	if err != nil {
		d.Problem(f.wrong("not compared with its %s: %w", suffix, err))
		return nil
	}
	return other
}
