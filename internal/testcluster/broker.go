package testcluster

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds how long a process may take to serve or to end.
const patience = 90 * time.Second

// A Broker is one broker process with its directory.
type Broker struct {
	Addr string // host:port of the Kafka listener
	HTTP string // host:port of the metrics listener, empty for Kafka
	Dir  string // everything the process writes
	Log  string // path of what the process said

	system system
	up     bool
	paused bool
}

// A system knows how to run one kind of broker.
type system interface {
	// start runs the process in b.Dir on b.Addr (empty: a free port), and returns when it serves.
	start(b *Broker) error
	// stop ends the process, by SIGKILL or cleanly, and waits for it.
	stop(b *Broker, kill bool) error
	// pid is the process id of the running broker.
	pid() int
}

// begin starts a broker of a system and ties it to the test.
func begin(t testing.TB, b *Broker, s system) *Broker {
	t.Helper()
	b.system = s
	t.Cleanup(func() {
		if b.up {
			if b.paused {
				b.Resume(t)
			}
			if err := s.stop(b, false); err != nil {
				t.Errorf("stopping the broker in %s: %v", b.Dir, err)
				_ = s.stop(b, true) // the clean way has been reported
			}
			b.up = false
		}
		if t.Failed() {
			t.Logf("the broker's last words:\n%s", tail(b.Log, 60))
		}
	})
	b.Start(t)
	return b
}

// Start runs the broker again after Stop or Kill.
func (b *Broker) Start(t testing.TB) {
	t.Helper()
	if err := b.TryStart(); err != nil {
		t.Fatalf("starting the broker in %s: %v\n%s", b.Dir, err, tail(b.Log, 60))
	}
}

// TryStart is Start for a broker that may refuse.
func (b *Broker) TryStart() error {
	if b.up {
		return fmt.Errorf("the broker in %s runs already", b.Dir)
	}
	if err := b.system.start(b); err != nil {
		return err
	}
	b.up = true
	return nil
}

// Stop ends the broker cleanly.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	b.end(t, false)
}

// Kill ends the broker by SIGKILL.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	b.end(t, true)
}

// Pause stops the broker's process by SIGSTOP: it answers nothing, and its connections stay open.
func (b *Broker) Pause(t testing.TB) {
	t.Helper()
	b.signal(t, syscall.SIGSTOP)
	b.paused = true
}

// Resume lets a paused broker go on.
func (b *Broker) Resume(t testing.TB) {
	t.Helper()
	b.signal(t, syscall.SIGCONT)
	b.paused = false
}

func (b *Broker) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if !b.up {
		t.Fatalf("%v: the broker in %s does not run", sig, b.Dir)
	}
	if err := syscall.Kill(b.Pid(), sig); err != nil {
		t.Fatal(err)
	}
}

// Up reports whether the broker runs, paused or not, as far as the test was told to start and end it.
func (b *Broker) Up() bool { return b.up }

func (b *Broker) end(t testing.TB, kill bool) {
	t.Helper()
	if b.paused && !kill {
		b.Resume(t)
	}
	b.paused = false
	if err := b.system.stop(b, kill); err != nil {
		t.Fatalf("stopping the broker in %s: %v\n%s", b.Dir, err, tail(b.Log, 60))
	}
	b.up = false
}

// Pid is the process id of the running broker.
func (b *Broker) Pid() int { return b.system.pid() }

// LogText is everything the broker said so far.
func (b *Broker) LogText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(b.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Eventually waits until ok says nil, and ends the test with its last answer otherwise.
func Eventually(t testing.TB, within time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at another process
	}
}

// RSS is the resident memory of a process in bytes.
func RSS(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	out, err := cmd.Output()
	if err != nil {
		detail := ""
		if exit, ok := err.(*exec.ExitError); ok {
			detail = string(exit.Stderr)
		}
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, detail)
	}
	return string(out), nil
}
