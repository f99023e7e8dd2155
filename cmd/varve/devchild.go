package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// A child is one broker process of a development cluster.
type child struct {
	id               int
	dir, kafka, http string

	process *os.Process
	ready   chan struct{} // closed when it serves
	ended   chan struct{} // closed when it has been waited for
	err     error         // of its end; read after ended
}

func (b *child) configFile() string { return filepath.Join(b.dir, "varve.properties") }

func (b *child) logFile() string { return filepath.Join(b.dir, "broker.log") }

// restartCommand starts the broker again from another terminal.
func (b *child) restartCommand() string {
	return fmt.Sprintf("%s broker --config %s", quoteArgument(os.Args[0]), quoteArgument(b.configFile()))
}

// quoteArgument quotes for a shell what needs it.
func quoteArgument(s string) string {
	if strings.ContainsAny(s, " '\"\\$`&|;<>()*?[]#~!{}\t") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (b *child) configure(set map[string]string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	return writeProperties(b.configFile(), set)
}

// start runs the process; what it says goes to its log file.
func (b *child) start() error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, "broker", "--config", b.configFile(), "--migrate=false") // it has been done once for all
	cmd.Stderr = log
	cmd.SysProcAttr = childAttributes()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	b.ready, b.ended = make(chan struct{}), make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer log.Close()
		runtime.LockOSThread() // the parent death signal comes when the thread that forked ends
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		b.process = cmd.Process
		started <- nil
		b.follow(stdout)
		b.err = cmd.Wait()
		close(b.ended)
	}()
	return <-started
}

// follow reads standard output to its end and notices the ready line.
func (b *child) follow(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for ready := false; lines.Scan(); {
		if !ready && strings.HasPrefix(lines.Text(), "ready ") {
			ready = true
			close(b.ready)
		}
	}
}

// await returns when the broker serves, or with why it does not.
func (b *child) await(ctx context.Context) error {
	select {
	case <-b.ready:
		return nil
	case <-b.ended:
		return fmt.Errorf("broker %d ended before it was ready (%s): %s", b.id, b.outcome(), b.lastWords())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcome says how an ended broker ended.
func (b *child) outcome() string {
	if b.err == nil {
		return "exit status 0"
	}
	return b.err.Error()
}

// lastWords is the last line of the log.
func (b *child) lastWords() string {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// terminate asks the broker to stop, if it runs.
func (b *child) terminate() { _ = b.process.Signal(syscall.SIGTERM) }
