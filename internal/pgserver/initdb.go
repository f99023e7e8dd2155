package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initialize makes the data directory when there is none. It is built under another name and renamed when it is
// complete, so that a crash in between leaves no half of one.
func (s *Server) initialize(ctx context.Context) error {
	if _, err := os.Stat(s.dataDir()); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	tmp := filepath.Join(s.opt.Dir, "data.initializing")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.WriteFile(s.passwordFile(), []byte(newPassword()+"\n"), 0o600); err != nil {
		return err
	}
	args := []string{
		"-D", tmp, "-U", dbUser, "--pwfile", s.passwordFile(), "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale", "--no-instructions",
	}
	if s.opt.NoSync {
		args = append(args, "--no-sync")
	}
	if err := s.run(ctx, "", "initdb", args...); err != nil {
		return err
	}
	// A stand-alone backend, before the first start: nobody can see the cluster without its database.
	err := s.run(ctx, "CREATE DATABASE "+database+"\n", "postgres", "--single", "-D", tmp, "-c", "log_destination=stderr", "postgres")
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, s.dataDir()); err != nil {
		return err
	}
	return syncDir(s.opt.Dir)
}

// run runs one of Postgres's programs to its end.
func (s *Server) run(ctx context.Context, stdin, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, s.binaries.path(program), args...)
	cmd.Env = cleanEnvironment()
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var err error
	if cmd.SysProcAttr, err = asUnprivileged(s.opt.Dir); err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
