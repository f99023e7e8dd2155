package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"varve/internal/config"
	"varve/internal/pgserver"
	"varve/metadata/postgres"
)

// devOptions are the flags of `varve dev`.
type devOptions struct {
	data, listen, http string
	topics             []string
	ephemeral          bool
	brokers            int
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a broker, or several, with their own Postgres, for development, on the loopback interface",
		Example: `  varve dev
  varve dev --topic orders:8 --topic clicks
  varve dev --brokers 3
  varve dev --data ./varve-data --listen 127.0.0.1:0 --http 127.0.0.1:0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.data, "data", "varve-data", "directory of everything that is kept")
	cmd.Flags().IntVar(&o.brokers, "brokers", 1, "how many brokers; several are processes of their own, on the ports that follow")
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:9092", "address of the Kafka listener; port 0 picks a free one")
	cmd.Flags().StringVar(&o.http, "http", "127.0.0.1:9644", "address of /metrics, /livez, /readyz and /debug/pprof")
	cmd.Flags().StringArrayVar(&o.topics, "topic", nil, "create a topic, NAME or NAME:PARTITIONS; may be repeated")
	cmd.Flags().BoolVar(&o.ephemeral, "ephemeral", false, "keep nothing: a temporary directory, removed at the end")
	return cmd
}

func (o devOptions) run(cmd *cobra.Command) (err error) {
	topics, err := parseTopics(o.topics)
	if err != nil {
		return err
	}
	for flag, addr := range map[string]string{"--listen": o.listen, "--http": o.http} {
		if err := loopback(addr); err != nil {
			return fmt.Errorf("%s %s: %w", flag, addr, err)
		}
	}
	if o.brokers < 1 || o.brokers > maxDevBrokers {
		return fmt.Errorf("--brokers %d: want 1 to %d", o.brokers, maxDevBrokers)
	}
	log := newLogger()
	if o.ephemeral {
		if o.data, err = os.MkdirTemp("", "varve-dev-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.data)
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return err
	}
	pg, err := pgserver.Start(cmd.Context(), pgserver.Options{Dir: filepath.Join(o.data, "postgres"), Logger: log})
	if err != nil {
		return fmt.Errorf("starting Postgres in %s: %w", o.data, err)
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()
	if _, err := postgres.Migrate(cmd.Context(), pg.URL(), "up"); err != nil {
		return err
	}
	if o.brokers > 1 {
		return o.runCluster(cmd, pg.URL(), topics)
	}
	set := o.settings(pg.URL())
	set["unclean.leader.election.enable"] = "true" // there is no other replica: a lost disk is rebuilt from the bucket
	cfg, err := config.NewBroker(set)
	if err != nil {
		return err
	}
	return run(cmd, cfg, o.data, topics)
}

// settings are those of a broker for development: nothing waits, topics appear by themselves.
func (o devOptions) settings(metadataURL string) map[string]string {
	return map[string]string{
		"node.id": "1", "listeners": "PLAINTEXT://" + o.listen, "varve.http.listen": o.http, "log.dirs": filepath.Join(o.data, "log"),
		"varve.metadata.url": metadataURL, "varve.bucket.url": (&url.URL{Scheme: "file", Path: filepath.Join(o.data, "bucket")}).String(),
		"remote.log.manager.task.interval.ms": "1000", "log.retention.check.interval.ms": "5000", "auto.create.topics.enable": "true",
		"group.initial.rebalance.delay.ms": "0",
	}
}

// loopback refuses addresses that others can reach: a broker for development asks nobody who they are.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("varve dev serves this machine only: give 127.0.0.1:PORT, or use varve broker --config FILE")
	}
	return nil
}

// newLogger writes text to a terminal and JSON otherwise.
func newLogger() *slog.Logger {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, nil))
}

// firstSteps are lines to copy into another terminal; addr may be several, comma-separated.
func firstSteps(addr string) string {
	return fmt.Sprintf(`
kcat:    echo hello | kcat -b %[1]s -t first -P      kcat -b %[1]s -t first -C -e
Java:    kafka-console-producer.sh --bootstrap-server %[1]s --topic first
Python:  confluent_kafka.Producer({"bootstrap.servers": "%[1]s"}).produce("first", b"hello")
Go:      kgo.NewClient(kgo.SeedBrokers("%[2]s"))
`, addr, strings.ReplaceAll(addr, ",", `", "`))
}
