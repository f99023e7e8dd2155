package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// maxDevBrokers bounds --brokers: more processes than that teach nothing on one machine.
	maxDevBrokers = 9
	// devStopGrace is how long a broker of a development cluster may take to stop.
	devStopGrace = 30 * time.Second
	// devTopicWait bounds the making of the topics of --topic.
	devTopicWait = 30 * time.Second
)

// runCluster runs o.brokers broker processes of this binary until the command's context ends. A broker that ends does not end the
// others: it is started again by hand.
func (o devOptions) runCluster(cmd *cobra.Command, metadataURL string, topics []newTopic) (err error) {
	kafka, err := following("--listen", o.listen, o.brokers)
	if err != nil {
		return err
	}
	web, err := following("--http", o.http, o.brokers)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	var brokers []*child
	defer func() { err = errors.Join(err, stopChildren(brokers)) }()
	for i := range o.brokers {
		b := &child{id: i + 1, dir: filepath.Join(o.data, fmt.Sprintf("broker-%d", i+1)), kafka: kafka[i], http: web[i]}
		if err := b.configure(o.clusterSettings(b, metadataURL)); err != nil {
			return err
		}
		if err := b.start(); err != nil {
			return fmt.Errorf("starting broker %d: %w", b.id, err)
		}
		brokers = append(brokers, b)
	}
	for _, b := range brokers {
		if err := b.await(cmd.Context()); err != nil {
			return err
		}
		fmt.Fprintf(out, "broker id=%d pid=%d kafka=%s http=%s log=%s\n", b.id, b.process.Pid, b.kafka, b.http, b.logFile())
	}
	bootstrap := strings.Join(kafka, ",")
	if err := createByClient(cmd.Context(), bootstrap, topics); err != nil {
		return err
	}
	for _, b := range brokers {
		fmt.Fprintf(out, "restart: %s\n", b.restartCommand())
	}
	fmt.Fprintf(out, "ready kafka=%s http=%s data=%s\n%s", bootstrap, strings.Join(web, ","), o.data, firstSteps(bootstrap))
	watch(cmd, brokers)
	return nil
}

// clusterSettings are those of one broker of several. Unlike a lone broker's, a lost disk is filled again from the other replicas.
func (o devOptions) clusterSettings(b *child, metadataURL string) map[string]string {
	replicas := min(o.brokers, 3)
	set := o.settings(metadataURL)
	maps.Copy(set, map[string]string{
		"node.id": strconv.Itoa(b.id), "listeners": "PLAINTEXT://" + b.kafka, "varve.http.listen": b.http, "log.dirs": filepath.Join(b.dir, "log"),
		"default.replication.factor": strconv.Itoa(replicas), "min.insync.replicas": strconv.Itoa(max(1, replicas-1)),
	})
	return set
}

// watch says which broker has ended, and returns when the command's context does.
func watch(cmd *cobra.Command, brokers []*child) {
	ended := make(chan *child, len(brokers)) // room for all: nobody waits when nobody listens any more
	for _, b := range brokers {
		go func() { // ends with the broker, which ends before the command
			<-b.ended
			ended <- b
		}()
	}
	for {
		select {
		case <-cmd.Context().Done():
			return
		case b := <-ended:
			if cmd.Context().Err() == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "broker %d ended (%s), the others go on; restart: %s\n", b.id, b.outcome(), b.restartCommand())
			}
		}
	}
}

// following is n addresses, the first as given and each with the next port; port 0 gives free ones.
func following(flag, addr string, n int) ([]string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || int(port)+n-1 > 65535 {
		return nil, fmt.Errorf("%s %s: want %d ports from %s on", flag, addr, n, text)
	}
	var addrs []string
	for i := range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port)+min(i, int(port)*n)))) // 0 stays 0
		if err != nil {
			return nil, fmt.Errorf("%s %s: the address of broker %d: %w", flag, addr, i+1, err)
		}
		defer l.Close() // all are held until all are known, so that no two are the same
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// createByClient makes the topics that do not exist, with the brokers' defaults.
func createByClient(ctx context.Context, bootstrap string, topics []newTopic) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, devTopicWait)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range topics {
		partitions := t.partitions
		if partitions == 0 {
			partitions = -1
		}
		created, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, -1, nil, t.name)
		if err == nil {
			err = created.Err
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("--topic %s: %w", t.name, err)
		}
	}
	return nil
}

// stopChildren ends the brokers that still run, all at the same time, and says which had to be killed.
func stopChildren(brokers []*child) error {
	for _, b := range brokers {
		b.terminate()
	}
	var errs []error
	deadline := time.After(devStopGrace)
	for _, b := range brokers {
		select {
		case <-b.ended:
		case <-deadline:
			errs = append(errs, fmt.Errorf("broker %d did not stop within %v and was killed", b.id, devStopGrace))
			for _, c := range brokers {
				_ = c.process.Kill() // has no effect on those that have ended
			}
			<-b.ended
		}
		if c, err := net.DialTimeout("tcp", b.kafka, time.Second); err == nil {
			_ = c.Close()
			errs = append(errs, fmt.Errorf("broker %d at %s was started elsewhere and still runs, now without Postgres: stop it there", b.id, b.kafka))
		}
	}
	return errors.Join(errs...)
}

// writeProperties writes settings in Kafka's own format, for the owner's eyes: there is a password in it.
func writeProperties(path string, set map[string]string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&text, "%s=%s\n", name, set[name])
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}
