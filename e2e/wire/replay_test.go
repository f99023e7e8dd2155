//go:build e2e

package wire

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testcluster"
)

var against = flag.String("against", "varve", "varve, kafka, or HOST:PORT of a prepared broker")

// patience is how long an answer may take; Kafka had as long.
const patience = 3 * time.Second

func TestMain(m *testing.M) { testcluster.Main(m) }

// TestAnswersAreKafkas replays every exchange and compares the answers.
func TestAnswersAreKafkas(t *testing.T) {
	addr := prepare(t)
	dir := filepath.Join(testcluster.Root(t), "testdata/wire")
	list := "differences.txt"
	if *against == "kafka" {
		list = "reference.txt"
	}
	differences := readDifferences(t, filepath.Join(dir, list))
	r := &replay{addr: addr, ids: newIDs()}
	r.advertised(t)
	compared, skipped := 0, map[string]int{}
	for _, x := range readExchanges(t, filepath.Join(dir, "exchanges.txt")) {
		if x.framed() && !r.serves(x.key(), x.version()) {
			skipped[x.api]++
			continue
		}
		compared++
		t.Run(x.name, func(t *testing.T) {
			found, sent, received := r.exchange(t, &x)
			left := unexpected(differences, x.name, found)
			for _, d := range left {
				t.Errorf("%v", d)
			}
			if len(left) > 0 {
				t.Logf("%s, %s (Kafka answered %s)\nsent     %x\nreceived %x", x.api, x.asked, x.answered, sent, received)
			}
		})
	}
	for _, in := range differences {
		if in.reached && !in.used {
			t.Errorf("%s: no answer needs this entry any more: %s", list, in.line)
		}
	}
	t.Logf("%d exchanges compared; skipped for want of the API version: %v", compared, skipped)
}

// prepare starts the broker that was asked for, makes the topics and starts it again, so that leader epoch 0 is an old one.
func prepare(t *testing.T) string {
	t.Helper()
	var b *testcluster.Broker
	switch *against {
	case "varve":
		b = testcluster.StartDev(t, t.TempDir())
	case "kafka":
		b = testcluster.StartKafka(t, t.TempDir())
	default:
		return *against
	}
	makeTopics(t, b.Addr)
	b.Stop(t)
	b.Start(t)
	return b.Addr
}

func makeTopics(t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	adm := kadm.NewClient(cl)
	for _, topic := range []struct {
		name, key, value string
		partitions       int32
	}{
		{"wire", "retention.ms", "-1", 2},
		{"wire-small", "max.message.bytes", "1000", 1},
		{"wire-compact", "cleanup.policy", "compact", 1},
		{"wire-append-time", "message.timestamp.type", "LogAppendTime", 1},
		{"wire-min-isr", "min.insync.replicas", "2", 1},
	} {
		if _, err := adm.CreateTopic(ctx, topic.partitions, 1, map[string]*string{topic.key: &topic.value}, topic.name); err != nil {
			t.Fatalf("creating %s: %v", topic.name, err)
		}
	}
}

// replay sends exchanges to a broker.
type replay struct {
	addr string
	ids  *ids
	apis []kmsg.ApiVersionsResponseApiKey
	conn net.Conn // of an exchange that left its connection to the next
}

func (r *replay) advertised(t *testing.T) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "varve", "1.0"
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	r.apis = resp.ApiKeys
}

func (r *replay) serves(key, version int16) bool {
	i := slices.IndexFunc(r.apis, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == key })
	return i >= 0 && r.apis[i].MinVersion <= version && version <= r.apis[i].MaxVersion
}

// exchange replays one exchange and returns how the broker's answer differs, and the bytes sent and received.
func (r *replay) exchange(t *testing.T, x *exchange) (found []difference, sent, received []byte) {
	t.Helper()
	request, err := r.request(x)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		answer, silence := r.send(t, request, x.keepOpen)
		c := &comparison{ids: r.ids}
		if answer == nil || x.response == nil {
			if (answer == nil) != (x.response == nil) || (answer == nil && silence != x.silence) {
				c.differ("answer", sketch(x.response, x.silence), sketch(answer, silence))
			}
			return c.found, request, answer
		}
		if string(answer[4:8]) != string(x.response[4:8]) {
			c.differ("correlation id", x.response[4:8], answer[4:8])
			return c.found, request, answer
		}
		want, err := x.answer(x.response[4:])
		if err != nil {
			t.Fatalf("Kafka's own answer: %v", err)
		}
		got, err := x.answer(answer[4:])
		if err != nil {
			c.differ("answer", "decodes", err)
			return c.found, request, answer
		}
		// Kafka's coordinators load while clients wait and retry, and so do we: only a final answer is compared.
		if busy(reflect.ValueOf(got)) && !busy(reflect.ValueOf(want)) && time.Now().Before(deadline) {
			continue
		}
		if again := got.AppendTo(nil); string(again) != string(answer[len(answer)-min(len(again), len(answer)):]) {
			c.differ("bytes", "the answer's own fields", "an answer that does not encode to the same bytes again")
		}
		c.values("", "", reflect.ValueOf(want), reflect.ValueOf(got))
		return c.found, request, answer
	}
}

func sketch(answer []byte, silence string) string {
	if answer == nil {
		return silence
	}
	return fmt.Sprintf("an answer of %d bytes", len(answer)-4)
}

// request is Kafka's request with the broker's ids in it. What is not a whole request is sent as it is.
func (r *replay) request(x *exchange) ([]byte, error) {
	if !x.framed() {
		return x.request, nil
	}
	body, at, err := x.body()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.name, err)
	}
	if !r.ids.substitute(reflect.ValueOf(body), "") {
		return x.request, nil
	}
	frame := body.AppendTo(append([]byte{}, x.request[:at]...))
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame, nil
}

// send writes one frame and reads one, or says why there is none in the words of exchanges.txt.
func (r *replay) send(t *testing.T, request []byte, keepOpen bool) (answer []byte, silence string) {
	t.Helper()
	conn := r.conn
	if conn == nil {
		var err error
		if conn, err = net.Dial("tcp", r.addr); err != nil {
			t.Fatalf("the broker is gone: %v", err)
		}
	}
	r.conn = nil
	if _, err := conn.Write(request); err != nil {
		conn.Close()
		return nil, "(closed by the broker)"
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, "(no answer within 3 s, connection open)"
		}
		return nil, "(closed by the broker)"
	}
	answer = append(size, make([]byte, binary.BigEndian.Uint32(size))...)
	if _, err := io.ReadFull(conn, answer[4:]); err != nil {
		t.Fatalf("an answer cut short: %v, %s", err, hex.EncodeToString(answer))
	}
	if keepOpen {
		r.conn = conn
	} else {
		conn.Close()
	}
	return answer, ""
}

// busy says whether an answer holds an error that a coordinator gives while it gets ready: COORDINATOR_LOAD_IN_PROGRESS,
// COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS.
func busy(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && busy(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16 && slices.Contains([]int64{14, 15, 16, 51}, v.Field(i).Int()) {
				return true
			}
			if f.IsExported() && f.Name != "UnknownTags" && busy(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if busy(v.Index(i)) {
				return true
			}
		}
	}
	return false
}
