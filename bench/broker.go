package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A system is one of the brokers compared.
type system struct {
	name string
	// start starts it in an empty dir and returns when it serves.
	start func(dir string) (*broker, error)
	// topic holds the topic configuration of every topic of a run.
	topic map[string]*string
}

// A broker is a started broker process.
type broker struct {
	addr string
	pid  int
	stop func() error
	kill func() error // by SIGKILL
	// ready is the time from exec to serving.
	ready time.Duration
}

func text(s string) *string { return &s }

// systems are what can be measured. Tiering is off for the local measures: Kafka has none there either.
func systems(varve, kafka string) map[string]system {
	local := map[string]*string{"remote.storage.enable": text("false")}
	return map[string]system{
		"varve":       {"varve", func(dir string) (*broker, error) { return startVarve(varve, dir) }, local},
		"varve-minio": {"varve-minio", func(dir string) (*broker, error) { return startVarveOnMinIO(varve, dir) }, nil},
		"kafka":       {"kafka", func(dir string) (*broker, error) { return startKafka(kafka, dir) }, nil},
		"kafka-syncing": {"kafka-syncing", func(dir string) (*broker, error) { return startKafka(kafka, dir) },
			map[string]*string{"flush.messages": text("1")}},
		"kafka-tiered": {"kafka-tiered", func(dir string) (*broker, error) { return startKafka(kafka, dir, "--tiered") }, nil},
	}
}

// startVarve runs `varve dev` (or what args say) and waits for its ready line.
func startVarve(binary, dir string, args ...string) (*broker, error) {
	if len(args) == 0 {
		args = []string{"dev", "--data", dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	}
	cmd := exec.Command(binary, args...)
	log, err := os.Create(filepath.Join(dir, "varve.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "ready kafka=")
		if !ok {
			continue
		}
		b := &broker{addr: strings.Fields(rest)[0], pid: cmd.Process.Pid, ready: time.Since(started)}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for lines.Scan() {
			}
		}()
		b.stop = func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			<-drained
			return cmd.Wait()
		}
		b.kill = func() error {
			if err := cmd.Process.Kill(); err != nil {
				return err
			}
			<-drained
			_ = cmd.Wait() // says that it was killed
			return nil
		}
		return b, nil
	}
	return nil, fmt.Errorf("varve ended before it was ready (%w): see %s", cmd.Wait(), log.Name())
}

// startKafka runs the kit's script, which returns when the broker answers.
func startKafka(script, dir string, args ...string) (*broker, error) {
	started := time.Now()
	out, err := exec.Command(script, append([]string{"start", "--dir", dir, "--port", "0"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%s start: %s", script, exit.Stderr)
		}
		return nil, err
	}
	ready := time.Since(started)
	raw, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(string(out))
	return &broker{
		addr: lines[len(lines)-1], pid: pid, ready: ready,
		stop: func() error { return exec.Command(script, "stop", "--dir", dir).Run() },
		kill: func() error { return exec.Command(script, "kill", "--dir", dir).Run() },
	}, nil
}

// createTopic makes a topic and waits until its leaders answer.
func createTopic(addr, name string, partitions int, configs map[string]*string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, int32(partitions), 1, configs, name); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	for {
		ends, err := adm.ListEndOffsets(ctx, name)
		if err == nil && ends.Error() == nil && len(ends[name]) == partitions {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("topic %s is not served: %w", name, errors.Join(err, ends.Error()))
		}
	}
}
