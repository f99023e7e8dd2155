package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"varve/testdata/flights"
)

// A demo takes real events through the whole path and compares what comes back with what went in.
type demo struct {
	bootstrap, http string
	records         int
	keep            bool
	timeout         time.Duration

	out    io.Writer
	topic  string
	cl     *kgo.Client
	adm    *kadm.Client
	source source
}

const demoPartitions = 3

func demoCommand() *cobra.Command {
	d := demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Take real events to the bucket and back and compare every byte",
		Long: `Take 336,776 real events (testdata/flights) through the whole path: produce them keyed into a tiered topic with small
segments, wait until the sealed segments are live in the bucket and their local copies are gone, replay the topic from
offset 0 and by timestamp, and compare every record with its source. Exits with 1 if one byte differs.`,
		Example: `  varve dev                                     # in another terminal
  varve demo
  varve demo --bootstrap 127.0.0.1:19092 --http 127.0.0.1:19644 --records 100000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.bootstrap, "bootstrap", "127.0.0.1:9092", "address of a broker")
	cmd.Flags().StringVar(&d.http, "http", "127.0.0.1:9644", "address of the broker's metrics, for the number of requests; empty: do without")
	cmd.Flags().IntVar(&d.records, "records", flights.Count, "how many events")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "keep the topic")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 5*time.Minute, "give up after this time")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	d.topic = "varve-demo-" + strings.ToLower(rand.Text()[:8])
	d.cl, err = kgo.NewClient(kgo.SeedBrokers(d.bootstrap), kgo.DefaultProduceTopic(d.topic), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return err
	}
	defer d.cl.Close()
	d.adm = kadm.NewClient(d.cl)
	if err := d.cl.Ping(ctx); err != nil {
		return fmt.Errorf("--bootstrap %s: no broker answers: %w (start one with `varve dev`)", d.bootstrap, err)
	}
	if err := d.create(ctx); err != nil {
		return err
	}
	if !d.keep {
		defer func() {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if _, deleteErr := d.adm.DeleteTopic(clean, d.topic); err == nil {
				err = deleteErr
			}
		}()
	}
	before, started := d.requests(ctx), time.Now()
	if err := d.produce(ctx); err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	tier, err := d.awaitTier(ctx)
	if err != nil {
		return err
	}
	uploaded := time.Since(started)
	replayed := time.Now()
	if err := d.replay(ctx); err != nil {
		return fmt.Errorf("replaying from offset 0: %w", err)
	}
	took := time.Since(replayed)
	if err := d.replayByTime(ctx); err != nil {
		return fmt.Errorf("replaying by timestamp: %w", err)
	}
	d.report(ctx, tier, uploaded, took, before)
	return nil
}

func (d *demo) create(ctx context.Context) error {
	configs := map[string]*string{}
	for name, value := range map[string]string{"segment.bytes": "1048576", "retention.ms": "-1", "local.retention.ms": "1000"} {
		configs[name] = &value
	}
	_, err := d.adm.CreateTopic(ctx, demoPartitions, 1, configs, d.topic)
	return err
}

// report prints the table.
func (d *demo) report(ctx context.Context, tier tierState, uploaded, replayed time.Duration, before requestCounts) {
	w := tabwriter.NewWriter(d.out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "\nrecords\t%d, all as they went in\n", d.source.records)
	fmt.Fprintf(w, "bytes\t%.1f MB in keys and values\n", float64(d.source.bytes)/1e6)
	local, remote := d.sizes(ctx)
	fmt.Fprintf(w, "on local disk\t%.1f MB, from offsets %v\n", float64(local)/1e6, tier.local)
	fmt.Fprintf(w, "in the bucket\t%.1f MB, up to offsets %v\n", float64(remote)/1e6, tier.tiered)
	fmt.Fprintf(w, "produce to live\t%.2f s, %.1f MB/s\n", uploaded.Seconds(), float64(d.source.bytes)/1e6/uploaded.Seconds())
	fmt.Fprintf(w, "replay\t%.2f s, %.1f MB/s\n", replayed.Seconds(), float64(d.source.bytes)/1e6/replayed.Seconds())
	after := d.requests(ctx)
	if after == nil {
		fmt.Fprintf(w, "object-store requests\tunknown: give the broker's --http address\n")
		return
	}
	fmt.Fprintf(w, "segments uploaded\t%.0f\n", after["segments"]-before["segments"])
	fmt.Fprintf(w, "object-store requests\tput %.0f, stat %.0f, get %.0f\n", after["put"]-before["put"], after["stat"]-before["stat"], after["get"]-before["get"])
}

// sizes sums what DescribeLogDirs says of the topic: local directories, and the bucket's entry.
func (d *demo) sizes(ctx context.Context) (local, remote int64) {
	dirs, err := d.adm.DescribeAllLogDirs(ctx, kadm.TopicsSet{d.topic: {0: {}, 1: {}, 2: {}}})
	if err != nil {
		return 0, 0
	}
	dirs.Each(func(dir kadm.DescribedLogDir) {
		if strings.Contains(dir.Dir, "://") {
			remote += dir.Size()
		} else {
			local += dir.Size()
		}
	})
	return local, remote
}
