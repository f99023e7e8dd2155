package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"varve/commitlog"
	"varve/tiering"
)

func logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Look into the files of the log"}
	cmd.AddCommand(logDumpCommand())
	return cmd
}

const logDumpLong = `Print what is in the files of a partition, of a log directory and of the bucket, as Kafka's kafka-dump-log (DumpLogSegments) does: the
same flags, the same lines. Nothing is changed, and the broker may run.

  .log                     its batches; with --deep-iteration their records, with --print-data-log keys and values too
  .index .timeindex        their entries, compared with the .log beside them
  .txnindex                aborted transactions
  .snapshot                producers: their epochs, last sequences and open transactions
  leader-epoch-checkpoint  where each leader epoch began
  *-offset-checkpoint      an offset for each partition
  .idx                     an index bundle of the bucket: what segment it belongs to, its chunks, and the indexes in it

A directory stands for the files in it. Where indexes and logs disagree and where offsets have gaps is said at the end, on standard error; so is
what cannot be read, at once: then the exit status is 1. "-1 is followed by N" only says that a .log begins at N, as all but the first do.`

const logDumpExample = `  The batches of a segment, one a line; "isvalid: false" is a wrong checksum:
    varve log dump orders-0/00000000000000000000.log
  Its records with keys and values:
    varve log dump --print-data-log orders-0/00000000000000000000.log
  The values alone, of the first 64 KiB:
    varve log dump --print-data-log --skip-record-metadata --max-bytes 65536 orders-0/00000000000000000000.log
  Do the indexes lead to the right batches? (nothing but their names: yes)
    varve log dump --verify-index-only orders-0/00000000000000000000.index orders-0/00000000000000000000.timeindex
  Would Kafka take the index at its start, or build it anew?
    varve log dump --index-sanity-check --files orders-0/00000000000000000000.index,orders-0/00000000000000000000.timeindex
  Which transactions were aborted, and which producers does a restart know?
    varve log dump orders-0/00000000000000000000.txnindex orders-0/00000000000000001000.snapshot
  When did leaders change, and from where is a crashed log recovered?
    varve log dump orders-0/leader-epoch-checkpoint recovery-point-offset-checkpoint
  What does the bucket know of a segment?
    varve log dump 00000000000000000000-00000000000000001000-0-8c0f6a52-3c0e-4c52-9d53-0a52b9f3e6a1.idx
  Everything in a partition:
    varve log dump orders-0`

func logDumpCommand() *cobra.Command {
	var files []string
	var o commitlog.DumpOptions
	cmd := &cobra.Command{
		Use:     "dump FILE...",
		Short:   "Print segments, indexes, snapshots, checkpoints and index bundles as Kafka's DumpLogSegments does",
		Long:    logDumpLong,
		Example: logDumpExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := dumpPaths(append(files, args...))
			if err != nil {
				return err
			}
			if o.MaxBytes < 1 {
				return errors.New("--max-bytes is less than 1")
			}
			if o.MaxBytes == math.MaxInt32 { // Kafka's "all"
				o.MaxBytes = 0
			}
			return dump(cmd, paths, o)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&files, "files", nil, "files to dump, with commas between them; as good as naming them without it")
	flags.BoolVar(&o.Deep, "deep-iteration", false, "show the records of each batch, not only the batch")
	flags.BoolVar(&o.Data, "print-data-log", false, "show keys and values of records; implies --deep-iteration")
	flags.BoolVar(&o.SkipMetadata, "skip-record-metadata", false, "of records show only key and value; skips control records")
	flags.BoolVar(&o.SanityOnly, "index-sanity-check", false, "of .index and .timeindex say only whether they pass the check of Kafka's start")
	flags.BoolVar(&o.VerifyOnly, "verify-index-only", false, "compare .index and .timeindex with the .log without printing them")
	flags.Int64Var(&o.MaxBytes, "max-bytes", math.MaxInt32, "read only so many bytes of each .log")
	flags.Int("max-message-size", 5242880, "accepted for Kafka's sake: batches of any size are read")
	return cmd
}

// dumpPaths replaces directories by the files in them.
func dumpPaths(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, errors.New("no file: give FILE..., directories, or --files a,b")
	}
	var paths []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			paths = append(paths, arg) // a missing one is said where it would be dumped
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() {
				paths = append(paths, filepath.Join(arg, e.Name()))
			}
		}
	}
	return paths, nil
}

func dump(cmd *cobra.Command, paths []string, o commitlog.DumpOptions) error {
	d := commitlog.NewDumper(cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
	for _, path := range paths {
		show := d.File
		if filepath.Ext(path) == ".idx" {
			show = func(ctx context.Context, path string) error { return dumpBundle(ctx, cmd.OutOrStdout(), d, path) }
		}
		if err := show(cmd.Context(), path); err != nil {
			return err
		}
	}
	return d.Finish()
}

// largestBundle bounds what is read of a file that says it is a bundle, bytes. The indexes of a segment of 2 GiB take a few MiB.
const largestBundle = 1 << 30

// dumpBundle prints an .idx object: what it says of its segment, and each index in it as if the bundle were a directory. Of a damaged one the head
// is all that can be trusted.
func dumpBundle(ctx context.Context, out io.Writer, d *commitlog.Dumper, path string) error {
	if _, err := fmt.Fprintf(out, "Dumping %s\n", path); err != nil {
		return err
	}
	data, err := readBundle(path)
	if err != nil {
		d.Problem(err)
		return nil
	}
	b, err := tiering.Decode(data)
	if err == nil {
		if err := printBundleHead(out, b); err != nil {
			return err
		}
		return dumpBundleParts(ctx, d, path, b)
	}
	d.Problem(fmt.Errorf("%s: %w", path, err))
	if b, err = tiering.DecodeHead(data); err != nil {
		return nil // Decode has said why
	}
	return printBundleHead(out, b)
}

func printBundleHead(out io.Writer, b *tiering.Bundle) error {
	s := b.Segment
	var text strings.Builder
	fmt.Fprintf(&text, "clusterId: %s topic: %s topicId: %s partition: %d segmentId: %s\n",
		b.ClusterID, b.Topic, s.TopicPartition.TopicID, s.TopicPartition.Partition, s.ID)
	fmt.Fprintf(&text, "baseOffset: %d endOffset: %d leaderEpoch: %d maxTimestamp: %d logSize: %d logCrc: %d chunks: %d\n",
		s.BaseOffset, s.EndOffset, s.LeaderEpoch, s.MaxTimestamp, s.LogBytes, s.LogCRC32C, len(b.Chunks))
	for _, c := range b.Chunks {
		fmt.Fprintf(&text, "chunk position: %d size: %d firstOffset: %d maxTimestamp: %d crc: %d\n",
			c.Position, c.Length, c.FirstOffset, c.MaxTimestamp, c.CRC32C)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func dumpBundleParts(ctx context.Context, d *commitlog.Dumper, path string, b *tiering.Bundle) error {
	for _, part := range []struct {
		base   int64
		suffix string
		data   []byte
	}{
		{b.Segment.BaseOffset, ".index", b.Index},
		{b.Segment.BaseOffset, ".timeindex", b.TimeIndex},
		{b.Segment.BaseOffset, ".txnindex", b.TxnIndex},
		{b.Segment.EndOffset, ".snapshot", b.Producers},
	} {
		if part.data == nil {
			continue
		}
		if err := d.Bytes(ctx, filepath.Join(path, fmt.Sprintf("%020d%s", part.base, part.suffix)), part.data); err != nil {
			return err
		}
	}
	return d.Epochs(ctx, filepath.Join(path, "leader-epoch-checkpoint"), b.LeaderEpochs)
}

func readBundle(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > largestBundle {
		return nil, fmt.Errorf("%s: %d bytes are too many for an index bundle", path, info.Size())
	}
	return os.ReadFile(path)
}
