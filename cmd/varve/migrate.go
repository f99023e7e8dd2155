package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"varve/metadata/postgres"
)

func migrateCommand() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use:   "migrate up|down|version",
		Short: "Bring the metadata schema in Postgres up to date, take it down, or print its version",
		Example: `  varve migrate up --url postgres://varve@127.0.0.1:5432/varve
  VARVE_METADATA_URL=postgres://… varve migrate version`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"up", "down", "version"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if url == "" {
				url = os.Getenv("VARVE_METADATA_URL")
			}
			if url == "" {
				return errors.New("varve.metadata.url is not set: give --url postgres://user@host:port/database")
			}
			version, err := postgres.Migrate(cmd.Context(), url, args[0])
			if err != nil {
				return fmt.Errorf("varve.metadata.url: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "schema version %d\n", version)
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "Postgres URL of the metadata [env: VARVE_METADATA_URL]")
	return cmd
}
