package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	dbUser   = "varve"
	database = "varve"

	startTimeout    = 60 * time.Second // crash recovery included
	fastStopTimeout = 30 * time.Second
	pollInterval    = 2 * time.Millisecond
)

// Options of a Server.
type Options struct {
	Dir    string // created when absent
	Port   int    // on 127.0.0.1; 0: any free one
	NoSync bool   // fsync=off: for tests, whose data need not survive the machine
	Logger *slog.Logger
}

// Server is one running Postgres.
type Server struct {
	opt      Options
	binaries binaries
	password string
	port     int
	lock     *os.File

	exited   chan struct{} // closed when the process has been waited for
	exitErr  error         // of the process; read after exited
	process  *os.Process
	stopOnce sync.Once
	stopErr  error
}

// Start starts the Postgres of o.Dir, initialising the directory the first time, and returns when it accepts
// connections. ctx bounds the start only. The caller must call Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{opt: o}
	if s.lock, err = lockDir(o.Dir); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		_ = s.lock.Close()
		return nil, fmt.Errorf("postgres in %s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	var err error
	if s.binaries, err = findBinaries(ctx, s.dataDir(), s.opt.Logger); err != nil {
		return err
	}
	if err := s.initialize(ctx); err != nil {
		return err
	}
	if err := stopOrphan(s.dataDir(), s.opt.Logger); err != nil {
		return err
	}
	password, err := os.ReadFile(s.passwordFile())
	if err != nil {
		return err
	}
	s.password = strings.TrimSpace(string(password))
	s.port = s.opt.Port
	for attempt := 0; ; attempt++ {
		if s.opt.Port == 0 {
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		// Between freePort and Postgres's own bind anyone may take the port.
		if err = s.launch(ctx); err == nil || s.opt.Port != 0 || attempt == 2 || ctx.Err() != nil {
			return err
		}
	}
}

// launch runs postgres and waits until it is ready.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.binaries.path("postgres"), s.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = cleanEnvironment()
	cmd.SysProcAttr, err = asUnprivileged(s.opt.Dir)
	if err != nil {
		return err
	}
	dieWithParent(cmd.SysProcAttr)
	if s.process, s.exited, err = spawn(cmd, &s.exitErr); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		_ = s.process.Signal(syscall.SIGQUIT)
		<-s.exited
		return fmt.Errorf("%w\n%s", err, s.logTail())
	}
	return nil
}

func (s *Server) arguments() []string {
	fsync := "on"
	if s.opt.NoSync {
		fsync = "off"
	}
	args := []string{"-D", s.dataDir()}
	for _, setting := range []string{
		"port=" + strconv.Itoa(s.port),
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"shared_buffers=32MB",
		"max_connections=100",
		"fsync=" + fsync,
		"log_destination=stderr",
		"logging_collector=off",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

// awaitReady polls the status line of postmaster.pid, which costs Postgres nothing, unlike trial connections.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if pm, err := readPostmaster(s.dataDir()); err == nil && pm.ready && pm.port == s.port {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("exited while starting: %w", s.exitErr)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
}

// URL is the connection URL of the database, password included.
func (s *Server) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(dbUser, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port is the TCP port on 127.0.0.1. Pass it to the next Start to come back under the same URL.
func (s *Server) Port() int { return s.port }

// Exited is closed when Postgres has ended, by Stop or by itself.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Stop shuts Postgres down at once but cleanly (Postgres calls it "fast": sessions are cut, a checkpoint is written)
// and waits until it has ended. Further calls return the first one's result.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() { s.stopErr = s.stop() })
	return s.stopErr
}

func (s *Server) stop() error {
	defer func() { _ = s.lock.Close() }()
	if err := s.process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(fastStopTimeout):
		s.opt.Logger.Warn("postgres does not stop; recovery will run at its next start", "dir", s.opt.Dir)
		_ = s.process.Signal(syscall.SIGQUIT)
		<-s.exited
	}
	if s.exitErr != nil {
		return fmt.Errorf("postgres in %s ended: %w\n%s", s.opt.Dir, s.exitErr, s.logTail())
	}
	return nil
}

// Crash ends Postgres without a checkpoint ("immediate": the next start runs crash recovery), as when its machine fails, and waits until
// it has ended. Stop does nothing afterwards.
func (s *Server) Crash() error {
	s.stopOnce.Do(func() {
		defer func() { _ = s.lock.Close() }()
		if err := s.process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.stopErr = err
			return
		}
		<-s.exited // its status says only that it was told to end
	})
	return s.stopErr
}

func (s *Server) dataDir() string      { return filepath.Join(s.opt.Dir, "data") }
func (s *Server) passwordFile() string { return filepath.Join(s.opt.Dir, "password") }
func (s *Server) logFile() string      { return filepath.Join(s.opt.Dir, "postgres.log") }

// logTail returns the end of what Postgres printed, for error messages.
func (s *Server) logTail() string {
	f, err := os.Open(s.logFile())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	const limit = 2048
	if fi, err := f.Stat(); err == nil && fi.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	tail, _ := io.ReadAll(io.LimitReader(f, limit))
	return strings.TrimSpace(string(tail))
}

func newPassword() string { return rand.Text() }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// cleanEnvironment is ours without the variables by which libpq and Postgres would look elsewhere.
func cleanEnvironment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C")
}
