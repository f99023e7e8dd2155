package pgserver

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// childDir makes this test binary start a server there, say so, and wait to be killed.
const childDir = "PGSERVER_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := Start(context.Background(), Options{Dir: dir, NoSync: true})
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		println(s.process.Pid)
		select {}
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

func query(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var out string
	if err := conn.QueryRow(t.Context(), sql).Scan(&out); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}
	return out
}

func gone(pid int, dir string) func() bool {
	return func() bool { return !isPostgres(pid, filepath.Join(dir, "data")) }
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestDataSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	query(t, s, `CREATE TABLE t AS SELECT 'kept' AS v`)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error("stopping twice", err)
	}
	started := time.Now()
	s, err := Start(t.Context(), Options{Dir: dir}) // with fsync, as varve dev does
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	if got := query(t, s, `SELECT v FROM t`); got != "kept" {
		t.Error(got)
	}
	took := time.Since(started)
	t.Logf("from start to the first answer: %v", took)
	if took > 5*time.Second { // 0.1 s on an idle machine
		t.Errorf("took %v", took)
	}
	if got := query(t, s, `SHOW fsync`); got != "on" {
		t.Error("fsync is", got)
	}
	if got := query(t, s, `SHOW listen_addresses`) + query(t, s, `SHOW unix_socket_directories`); got != "127.0.0.1" {
		t.Error("listens on", got)
	}
}

func TestPasswordIsNeeded(t *testing.T) {
	s := start(t, t.TempDir())
	if _, err := pgx.Connect(t.Context(), strings.Replace(s.URL(), s.password, "wrong", 1)); err == nil {
		t.Error("any password does")
	}
	fi, err := os.Stat(s.passwordFile())
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
}

func TestDirectoryIsNotShared(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Error(err)
	}
	query(t, s, `SELECT 'still there'`)
}

// A process that is killed takes its Postgres along (Linux), and the next one starts on the same directory.
func TestKilledParent(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	stderr, err := child.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	if gone(pid, dir)() {
		t.Fatal("the child's Postgres does not run")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	await(t, "Postgres ends with its parent", gone(pid, dir))
	query(t, start(t, dir), `SELECT 'back'`)
}

// Where Postgres outlives its parent, the next Start stops it and takes over.
func TestOrphanIsStopped(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	query(t, s, `CREATE TABLE t AS SELECT 'kept' AS v`)
	args := s.arguments()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command(s.binaries.path("postgres"), args...)
	var err error
	if orphan.SysProcAttr, err = asUnprivileged(dir); err != nil {
		t.Fatal(err)
	}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	await(t, "orphan ready", func() bool { pm, err := readPostmaster(s.dataDir()); return err == nil && pm.ready })

	again := start(t, dir)
	if err := <-ended; err != nil {
		t.Errorf("the orphan was not stopped cleanly: %v", err)
	}
	if got := query(t, again, `SELECT v FROM t`); got != "kept" {
		t.Error(got)
	}
}

// A postmaster.pid whose process is another program now is no reason to kill that.
func TestStalePidFile(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	stale := strconv.Itoa(bystander.Process.Pid) + "\n" + s.dataDir() + "\n1\n1\n\n127.0.0.1\n\nready\n"
	if err := os.WriteFile(filepath.Join(s.dataDir(), "postmaster.pid"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := stopOrphan(s.dataDir(), s.opt.Logger); err != nil {
		t.Error(err)
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("killed a bystander", err)
	}
	_ = bystander.Process.Kill()
	_ = bystander.Wait()
	query(t, start(t, dir), `SELECT 'back'`)
}

func TestInterruptedInitialisation(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "data.initializing")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	query(t, start(t, dir), `SELECT 'started'`)
}

func TestOtherMajorVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "made by Postgres 9") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("fourteen"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("nonsense accepted")
	}
}

func TestChooseBinaries(t *testing.T) {
	local := []binaries{{"path", 15}, {"old", 13}, {"new", 17}, {"again", 15}}
	for want, dir := range map[int]string{0: "new", 15: "path", 13: "old", 16: ""} {
		if b, ok := choose(local, want); b.dir != dir || ok != (dir != "") {
			t.Errorf("want %d: %+v %v", want, b, ok)
		}
	}
	if b, ok := choose([]binaries{{"old", 13}}, 0); ok {
		t.Errorf("too old for a new directory: %+v", b)
	}
}

// A broken setting is reported with what Postgres itself said.
func TestFailureShowsTheLog(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dataDir(), "postgresql.auto.conf"), []byte("no_such_setting = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Error(err)
	}
}
