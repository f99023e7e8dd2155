// Command varve is the broker and its tools: one file per sub-command. It is the only place that builds implementations and
// reads configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "varve:", strings.Join(strings.Fields(err.Error()), " ")) // one line, whatever is in it
		code := 1
		if e := (*exitError)(nil); errors.As(err, &e) {
			code = e.code
		}
		os.Exit(code)
	}
}

// root is the command tree.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "varve",
		Short:         "A Kafka-compatible log broker with its history in a bucket and its metadata in Postgres",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(devCommand(), brokerCommand(), clusterCommand(), demoCommand(), logCommand(), migrateCommand(), versionCommand())
	return cmd
}
