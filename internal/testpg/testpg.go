// Package testpg gives tests a real Postgres: one server per test process, started by the first test that asks, with
// the migrations applied once to a template database; each test gets a copy of it that is dropped when the test ends.
// The server's files are in a temporary directory; it ends with the process. A package whose TestMain runs
// Main(m) leaves no trace of it; else the next test process removes what is left.
package testpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"varve/internal/pgserver"
	"varve/metadata/postgres"
)

const (
	template = "varve_template"
	timeout  = 2 * time.Minute // generous: the first start may fetch Postgres
)

// shared is the server of this process.
var shared = sync.OnceValues(func() (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	sweep()
	if err := os.RemoveAll(sharedDir()); err != nil {
		return nil, err
	}
	s, err := pgserver.Start(ctx, pgserver.Options{Dir: sharedDir(), NoSync: true})
	if err != nil {
		return nil, err
	}
	running.Store(s)
	if err := admin(ctx, s, "CREATE DATABASE "+template); err != nil {
		return nil, err
	}
	if _, err := postgres.Migrate(ctx, inDatabase(s, template), "up"); err != nil {
		return nil, err
	}
	return s, nil
})

// running is the shared server once it runs.
var running atomic.Pointer[pgserver.Server]

func sharedDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("%s%d", dirPrefix, os.Getpid()))
}

// Runner runs the tests of a package, then stops the shared server. It is what goleak.VerifyTestMain takes.
type Runner struct{ m *testing.M }

// Main returns the Runner of m, for TestMain.
func Main(m *testing.M) Runner { return Runner{m} }

// Run runs the tests and returns the exit code.
func (r Runner) Run() int {
	code := r.m.Run()
	s := running.Load()
	if s == nil {
		return code
	}
	if err := errors.Join(s.Stop(), os.RemoveAll(sharedDir())); err != nil {
		fmt.Fprintln(os.Stderr, "stop the tests' Postgres:", err)
		return max(code, 1)
	}
	return code
}

var databases atomic.Int64

// URL returns the URL of a fresh database with the schema, for this test alone.
func URL(t testing.TB) string {
	t.Helper()
	return createDatabase(t, " TEMPLATE "+template)
}

// EmptyURL returns the URL of a fresh database without the schema.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return createDatabase(t, "")
}

func createDatabase(t testing.TB, clause string) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("start Postgres for tests: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	name := "test_" + strconv.FormatInt(databases.Add(1), 10)
	if err := admin(ctx, s, "CREATE DATABASE "+name+clause); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := admin(ctx, s, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return inDatabase(s, name)
}

// A Private server belongs to one test, which may stop and start it. Its URL stays the same.
type Private struct {
	t   testing.TB
	opt pgserver.Options

	mu struct {
		sync.Mutex
		server *pgserver.Server // nil while stopped
		url    string
	}
}

// Server starts a Postgres for this test alone, with the schema.
func Server(t testing.TB) *Private {
	t.Helper()
	p := &Private{t: t, opt: pgserver.Options{Dir: t.TempDir(), NoSync: true}}
	t.Cleanup(p.Stop)
	p.Start()
	if _, err := postgres.Migrate(context.Background(), p.URL(), "up"); err != nil {
		t.Fatal(err)
	}
	return p
}

// URL of the server's database.
func (p *Private) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.url
}

// Start starts the server unless it runs.
func (p *Private) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.server != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := pgserver.Start(ctx, p.opt)
	if err != nil {
		p.t.Fatalf("start the test's Postgres: %v", err)
	}
	p.opt.Port = s.Port()
	p.mu.server, p.mu.url = s, s.URL()
}

// Stop stops the server if it runs: connections are cut at once.
func (p *Private) Stop() {
	p.t.Helper()
	p.end((*pgserver.Server).Stop)
}

// Crash stops the server if it runs, without a checkpoint: the next Start runs crash recovery.
func (p *Private) Crash() {
	p.t.Helper()
	p.end((*pgserver.Server).Crash)
}

func (p *Private) end(how func(*pgserver.Server) error) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.server == nil {
		return
	}
	if err := how(p.mu.server); err != nil {
		p.t.Errorf("stop the test's Postgres: %v", err)
	}
	p.mu.server = nil
}

func inDatabase(s *pgserver.Server, name string) string {
	u, err := url.Parse(s.URL())
	if err != nil {
		panic(err) // pgserver made it
	}
	u.Path = "/" + name
	return u.String()
}

// admin runs one statement outside of any test's database.
func admin(ctx context.Context, s *pgserver.Server, sql string) error {
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
