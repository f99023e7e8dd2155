package testcluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// StartDev runs `varve dev` with its own Postgres and bucket in dir, with further arguments if given.
func StartDev(t testing.TB, dir string, args ...string) *Broker {
	t.Helper()
	b := &Broker{Dir: dir, Log: filepath.Join(dir, "varve.log")}
	v := &varve{binary: Binary(t), command: []string{"dev", "--data", filepath.Join(dir, "data")}, args: args}
	t.Cleanup(func() { endOrphans(t, dir) })
	return begin(t, b, v)
}

// StartBroker runs `varve broker --config FILE` with the environment given as KEY=value. The listeners are set through it.
func StartBroker(t testing.TB, dir, config string, env ...string) *Broker {
	t.Helper()
	b := &Broker{Dir: dir, Log: filepath.Join(dir, "varve.log")}
	return begin(t, b, &varve{binary: Binary(t), command: []string{"broker", "--config", config}, env: env})
}

// varve runs one sub-command that prints a ready line.
type varve struct {
	binary  string
	command []string
	args    []string
	env     []string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone and its output read
	err     error         // of Wait, to be read after ended
}

func (v *varve) pid() int { return v.cmd.Process.Pid }

func (v *varve) start(b *Broker) error {
	args := append([]string{}, v.command...)
	if v.command[0] == "dev" {
		kafka, http := b.Addr, b.HTTP
		if kafka == "" {
			kafka, http = "127.0.0.1:0", "127.0.0.1:0"
		}
		args = append(args, "--listen", kafka, "--http", http)
	}
	v.cmd = exec.Command(v.binary, append(args, v.args...)...)
	v.cmd.Env = append(os.Environ(), v.env...)
	log, err := os.OpenFile(b.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	v.cmd.Stderr = log
	if v.command[0] == "broker" { // dev has a Postgres to stop first
		v.cmd.SysProcAttr = dieWithParent()
	}
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		log.Close()
		return err
	}
	if err := v.cmd.Start(); err != nil {
		log.Close()
		return err
	}
	ready := make(chan string, 1)
	v.ended = make(chan struct{})
	go v.follow(stdout, log, ready)
	select {
	case line := <-ready:
		return b.read(line)
	case <-v.ended:
		return fmt.Errorf("varve %s ended before it was ready: %w", v.command[0], errors.Join(v.err, errors.New(tail(b.Log, 5))))
	case <-time.After(patience):
		_ = v.cmd.Process.Kill() // the time-out is the error
		<-v.ended
		return fmt.Errorf("varve %s printed no ready line within %v", v.command[0], patience)
	}
}

// follow copies standard output to the log, and hands over the ready line. It owns Wait.
func (v *varve) follow(stdout io.Reader, log *os.File, ready chan<- string) {
	defer close(v.ended)
	defer log.Close()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(log, lines.Text())
		if strings.HasPrefix(lines.Text(), "ready ") {
			select {
			case ready <- lines.Text():
			default:
			}
		}
	}
	v.err = v.cmd.Wait()
}

// read takes the addresses out of `ready kafka=HOST:PORT http=HOST:PORT data=DIR`.
func (b *Broker) read(line string) error {
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "kafka":
			b.Addr = value
		case "http":
			b.HTTP = value
		}
	}
	if b.Addr == "" {
		return fmt.Errorf("no kafka= in the ready line %q", line)
	}
	return nil
}

func (v *varve) stop(b *Broker, kill bool) error {
	signal := syscall.SIGTERM
	if kill {
		signal = syscall.SIGKILL
	}
	if err := v.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-v.ended:
	case <-time.After(patience):
		return fmt.Errorf("pid %d did not end within %v after %v", v.cmd.Process.Pid, patience, signal)
	}
	if !kill && v.err != nil {
		return fmt.Errorf("a clean stop ended with %w", v.err)
	}
	return nil
}

// PostgresPid is the process id of the Postgres that `varve dev` runs below its directory, 0 when there is none.
func (b *Broker) PostgresPid() int { return postgresPid(b.Dir) }

func postgresPid(dir string) int {
	pid := 0
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != "postmaster.pid" {
			return nil // a file that goes while we look is no answer
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if n, err := strconv.Atoi(strings.TrimSpace(first)); err == nil && syscall.Kill(n, 0) == nil {
			pid = n
		}
		return filepath.SkipAll
	})
	return pid
}

// endOrphans stops the Postgres that a killed `varve dev` left behind.
func endOrphans(t testing.TB, dir string) {
	pid := postgresPid(dir)
	if pid == 0 {
		return
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(command), "postgres") {
		return // the number belongs to another process by now
	}
	_ = syscall.Kill(pid, syscall.SIGCONT)
	_ = syscall.Kill(pid, syscall.SIGQUIT) // Postgres' immediate shutdown
	Eventually(t, 10*time.Second, func() error {
		if syscall.Kill(pid, 0) == nil {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(text), ") Z ") {
				return nil
			}
			return fmt.Errorf("postgres %d is still there", pid)
		}
		return nil
	})
}
