package testcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// KafkaScript is the path of the kit that runs the reference Kafka.
func KafkaScript(t testing.TB) string { return filepath.Join(Root(t), "testdata/kafka/kafka.sh") }

// StartKafka runs a reference Kafka in dir on a free port, with the given key=value broker properties.
func StartKafka(t testing.TB, dir string, properties ...string) *Broker {
	t.Helper()
	return begin(t, &Broker{Dir: dir, Log: filepath.Join(dir, "server.log")}, kafka{KafkaScript(t), dir, properties})
}

type kafka struct {
	script, dir string
	properties  []string
}

func (k kafka) start(b *Broker) error {
	port := "0"
	if b.Addr != "" {
		port = b.Addr[strings.LastIndexByte(b.Addr, ':')+1:]
	}
	out, err := run(k.script, append([]string{"start", "--dir", k.dir, "--port", port}, k.properties...)...)
	if err != nil {
		return err
	}
	words := strings.Fields(out)
	if len(words) == 0 {
		return fmt.Errorf("kafka.sh start printed no address")
	}
	b.Addr = words[len(words)-1]
	return nil
}

func (k kafka) stop(b *Broker, kill bool) error {
	how := "stop"
	if kill {
		how = "kill"
	}
	_, err := run(k.script, how, "--dir", b.Dir)
	return err
}

func (k kafka) pid() int {
	text, err := os.ReadFile(filepath.Join(k.dir, "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
