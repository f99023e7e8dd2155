package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// shownFindings is how many partitions are explained without --all.
const shownFindings = 20

// Exit codes of `varve cluster status`.
const (
	exitUnhealthy  = 1
	exitCannotTell = 2
)

// An exitError ends the program with a code other than 1.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at a cluster as a whole", Args: cobra.NoArgs}
	cmd.AddCommand(clusterStatusCommand())
	return cmd
}

func clusterStatusCommand() *cobra.Command {
	var src statusSource
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say which brokers live, which partitions are not fully replicated, and why",
		Long: `Say which brokers live, which partitions are not fully replicated, and why.

It reads Postgres (--url, or varve.metadata.url of --config or the environment), so it works with no broker running.
With --bootstrap it asks a broker instead, and knows less: only live brokers are seen. min.insync.replicas counts as in
the topic, the cluster's default, and the file given with --config.

Exit code 0: every partition is led and fully replicated and there is a controller; 1: not; 2: cannot tell.`,
		Example: `  varve cluster status --config /etc/varve/varve.yaml
  varve cluster status --url postgres://varve@db/varve --json
  varve cluster status --bootstrap 127.0.0.1:9092`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := src.read(cmd.Context())
			if err != nil {
				return &exitError{exitCannotTell, err}
			}
			report := judge(state)
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(report)
			} else {
				err = printReport(cmd.OutOrStdout(), report, all)
			}
			if err != nil {
				return &exitError{exitCannotTell, err}
			}
			if !report.Healthy {
				return &exitError{exitUnhealthy, errors.New("the cluster is not healthy")}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&src.config, "config", "", "configuration file of a broker, .yaml or .properties")
	cmd.Flags().StringVar(&src.url, "url", "", "Postgres URL of the metadata [env: VARVE_METADATA_URL]")
	cmd.Flags().StringVar(&src.bootstrap, "bootstrap", "", "ask the broker at HOST:PORT instead of Postgres")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with every partition that is not healthy")
	cmd.Flags().BoolVar(&all, "all", false, "explain every partition that is not healthy, not only the first 20")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitCannotTell, err} })
	return cmd
}

// printReport writes the report for people.
func printReport(out io.Writer, r clusterReport, all bool) error {
	controller := fmt.Sprintf("broker %d", r.Controller)
	if r.ControllerReason != "" {
		controller = "none: " + r.ControllerReason
	}
	fmt.Fprintf(out, "cluster %s", r.ClusterID)
	if r.Version >= 0 {
		fmt.Fprintf(out, ", metadata version %d", r.Version)
	}
	fmt.Fprintf(out, "\ncontroller: %s\n\n", controller)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "broker\taddress\track\tleads\treplicas\tstate")
	for _, b := range r.Brokers {
		state := b.State
		if b.Since != nil {
			state += " since " + b.Since.UTC().Format(time.RFC3339)
		}
		rack := b.Rack
		if rack == "" {
			rack = "-"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%d\t%s\n", b.ID, b.Address, rack, b.Leads, b.Replicas, state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\npartitions: %d, leaderless %d, under min ISR %d, under-replicated %d, being reassigned %d\n",
		r.PartitionCount, r.Leaderless, r.UnderMinISR, r.UnderReplicated, r.Reassigning)
	for i, f := range r.Findings {
		if i == shownFindings && !all {
			fmt.Fprintf(out, "and %d more: --all explains them\n", len(r.Findings)-i)
			break
		}
		fmt.Fprintf(out, "%s-%d is %s (leader %d, ISR %v of %v): %s\n", f.Topic, f.Partition, f.State, f.Leader, f.ISR, f.Replicas, strings.Join(f.Why, "; "))
	}
	health := "healthy"
	if !r.Healthy {
		health = "not healthy"
	}
	_, err := fmt.Fprintln(out, health)
	return err
}
