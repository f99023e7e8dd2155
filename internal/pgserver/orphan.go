package pgserver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postmaster is what postmaster.pid says of a running server.
type postmaster struct {
	pid   int
	port  int
	ready bool
}

// readPostmaster parses postmaster.pid: one item a line, pid first, port fourth, status eighth (miscinit.h).
func readPostmaster(dataDir string) (postmaster, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return postmaster{}, err
	}
	lines := strings.Split(string(text), "\n")
	var pm postmaster
	if pm.pid, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil {
		return postmaster{}, fmt.Errorf("postmaster.pid: %w", err)
	}
	if len(lines) > 3 {
		pm.port, _ = strconv.Atoi(strings.TrimSpace(lines[3]))
	}
	if len(lines) > 7 {
		pm.ready = strings.TrimSpace(lines[7]) == "ready"
	}
	return pm, nil
}

// stopOrphan stops the Postgres that a killed process left behind on dataDir. The caller holds the directory's lock,
// so whoever started it is gone. A stale postmaster.pid whose number now belongs to another program is left to
// Postgres, which knows to ignore it.
func stopOrphan(dataDir string, logger *slog.Logger) error {
	pm, err := readPostmaster(dataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isPostgres(pm.pid, dataDir) {
		return awaitExit(pm.pid, dataDir)
	}
	logger.Warn("stopping the Postgres that an earlier process left running", "pid", pm.pid, "dir", dataDir)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := syscall.Kill(pm.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop postgres %d left running on %s: %w", pm.pid, dataDir, err)
		}
		for deadline := time.Now().Add(fastStopTimeout); time.Now().Before(deadline); time.Sleep(pollInterval) {
			if !isPostgres(pm.pid, dataDir) {
				return awaitExit(pm.pid, dataDir)
			}
		}
	}
	return fmt.Errorf("postgres %d still runs on %s: stop it by hand", pm.pid, dataDir)
}

// isPostgres reports whether pid is a live Postgres on dataDir, by its command line.
func isPostgres(pid int, dataDir string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "stat=,command=", "-p", strconv.Itoa(pid)).Output()
	if text, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); readErr == nil {
		out, err = []byte(strings.ReplaceAll(string(text), "\x00", " ")), nil // empty for a zombie
	}
	line := string(out)
	return err == nil && strings.Contains(line, "postgres") && strings.Contains(line, dataDir) && !strings.HasPrefix(line, "Z")
}

// awaitExit waits for a process that is on its way out: killed, but with its number still taken, which makes the next Postgres believe
// that the data directory is in use. A zombie that nobody reaps runs nothing any more: its postmaster.pid is removed.
func awaitExit(pid int, dataDir string) error {
	for deadline := time.Now().Add(fastStopTimeout); dying(pid); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			return os.Remove(filepath.Join(dataDir, "postmaster.pid"))
		}
	}
	return nil
}

// dying reports whether pid has no command line any more: its memory is gone, its number not yet.
func dying(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(text) == 0
}
