package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// binaries is a directory with Postgres's programs, all of one major version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// minMajor is the oldest major version that the schema is tested with.
const minMajor = 14

// searched are the places where packages put the programs, beside PATH.
var searched = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/opt/homebrew/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/usr/local/pgsql/bin",
}

// findBinaries chooses the programs for dataDir: the major version that made it or, when it is new, the newest
// installed here. What is not installed is fetched, once.
func findBinaries(ctx context.Context, dataDir string, logger *slog.Logger) (binaries, error) {
	want, err := dataMajor(dataDir)
	if err != nil {
		return binaries{}, err
	}
	local := installed(ctx)
	if b, ok := choose(local, want); ok {
		return b, nil
	}
	if want != 0 && want != pinnedMajor {
		return binaries{}, fmt.Errorf("the data directory was made by Postgres %d, which is not installed here (found: %s): install it, or move the directory away to start anew", want, describe(local))
	}
	return fetched(ctx, logger)
}

// choose picks the wanted major version, or the newest when want is 0.
func choose(local []binaries, want int) (binaries, bool) {
	var best binaries
	for _, b := range local {
		if (want == 0 && b.major >= minMajor && b.major > best.major) || (want != 0 && b.major == want && best.dir == "") {
			best = b
		}
	}
	return best, best.dir != ""
}

func describe(local []binaries) string {
	var found []string
	for _, b := range local {
		found = append(found, fmt.Sprintf("%d in %s", b.major, b.dir))
	}
	if found == nil {
		return "none"
	}
	return strings.Join(found, ", ")
}

// dataMajor returns the major version that made dataDir, 0 when there is none yet. initdb leaves it in PG_VERSION.
func dataMajor(dataDir string) (int, error) {
	path := filepath.Join(dataDir, "PG_VERSION")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return major, nil
}

// installed lists the complete installations of this machine, those in PATH first.
func installed(ctx context.Context) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range searched {
		matches, _ := filepath.Glob(pattern) // only a bad pattern fails
		dirs = append(dirs, matches...)
	}
	var found []binaries
	for _, dir := range dirs {
		if slices.ContainsFunc(found, func(b binaries) bool { return b.dir == dir }) {
			continue
		}
		if b, err := inspect(ctx, dir); err == nil {
			found = append(found, b)
		}
	}
	return found
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect returns the installation in dir.
func inspect(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := os.Stat(b.path("initdb")); err != nil {
		return binaries{}, err
	}
	out, err := exec.CommandContext(ctx, b.path("postgres"), "--version").Output()
	if err != nil {
		return binaries{}, err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("%s --version says %q", b.path("postgres"), out)
	}
	b.major, err = strconv.Atoi(string(m[1]))
	return b, err
}
