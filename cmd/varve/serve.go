package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"varve/internal/config"
	"varve/metadata/postgres"
)

func brokerCommand() *cobra.Command {
	var path string
	var migrate bool
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker against a given Postgres and bucket",
		Long: `Run a broker against a given Postgres and bucket.

Settings have Kafka's names; Varve's own begin with "varve.". They come from the file, YAML or .properties, and
from the environment, which wins: VARVE_ and the name in capitals with _ for each dot, without a second "varve":
node.id is VARVE_NODE_ID, varve.metadata.url is VARVE_METADATA_URL. deploy/varve.yaml is a commented example.`,
		Example: `  varve broker --config /etc/varve/varve.yaml
  VARVE_METADATA_URL=postgres://varve@db/varve VARVE_BUCKET_URL=s3://logs VARVE_NODE_ID=1 VARVE_LOG_DIRS=/data varve broker`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := loadSettings(path)
			if err != nil {
				return err
			}
			return serve(cmd, set, migrate)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file, .yaml or .properties")
	cmd.Flags().BoolVar(&migrate, "migrate", true, "bring the metadata schema up to date first")
	return cmd
}

// serve runs a broker with these settings until the command's context ends.
func serve(cmd *cobra.Command, set map[string]string, migrate bool) error {
	cfg, err := config.NewBroker(set)
	if err != nil {
		return err
	}
	for _, name := range []string{"node.id", "log.dirs", "varve.metadata.url"} {
		if set[name] == "" {
			return fmt.Errorf("%s is not set: give it in the configuration file or as %s", name, envName(name))
		}
	}
	if migrate {
		if _, err := postgres.Migrate(cmd.Context(), cfg.MetadataURL, "up"); err != nil {
			return fmt.Errorf("varve.metadata.url: %w", err)
		}
	}
	return run(cmd, cfg, "", nil)
}

// run serves Kafka clients and HTTP until the command's context ends. data, when it is not empty, is said in the ready line; topics are there
// before it.
func run(cmd *cobra.Command, cfg *config.Broker, data string, topics []newTopic) (err error) {
	log, reg := newLogger(), prometheus.NewRegistry()
	web, err := net.Listen("tcp", cfg.HTTPListen)
	if err != nil {
		return fmt.Errorf("varve.http.listen: %w", err)
	}
	health := newHealth(reg)
	done := make(chan error, 1)
	go func() { done <- health.serve(web) }()
	defer func() { err = errors.Join(err, health.close(), <-done) }()
	return runBroker(cmd.Context(), cfg, log, reg, topics, func(addr net.Addr) {
		health.ready.Store(true)
		fmt.Fprintf(cmd.OutOrStdout(), "ready kafka=%s http=%s", addr, web.Addr())
		if data != "" {
			fmt.Fprintf(cmd.OutOrStdout(), " data=%s\n%s", data, firstSteps(addr.String()))
			return
		}
		fmt.Fprintln(cmd.OutOrStdout())
	})
}
