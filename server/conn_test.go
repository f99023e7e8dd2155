package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

// sized puts the size before a frame.
func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// TestHostileFrames: whatever a peer sends, its connection closes without an answer, little memory is spent on it, and others go on.
func TestHostileFrames(t *testing.T) {
	_, addr := startServer(t, Config{})
	metadataRequest := kmsg.NewPtrMetadataRequest()
	metadataRequest.Version = 12
	whole := encode(metadataRequest, 1)
	size := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	head := func(key, version int16, body ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = append(b, 0, 0, 0, 1, 0xff, 0xff)
		return sized(append(b, body...))
	}
	cases := map[string][]byte{
		"size of -1":                  size(1<<32 - 1),
		"size of 2^31-1":              size(1<<31 - 1),
		"size of 0":                   size(0),
		"size above the limit":        size(100<<20 + 1),
		"frame of 2 bytes":            size(2, 0, 3),
		"unknown api key":             head(999, 0),
		"negative api key":            head(-1, 0),
		"api of controllers":          head(62, 0),
		"version not served":          head(3, 99),
		"negative version":            head(3, -1),
		"oldest Fetch":                head(1, 3),
		"client id too long":          sized([]byte{0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff}),
		"client id length -2":         sized([]byte{0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xfe}),
		"truncated body":              sized(whole[4 : len(whole)-3]),
		"array of 2^31-1":             head(3, 1, 0x7f, 0xff, 0xff, 0xff),
		"array of more than is there": head(3, 1, 0, 0, 0, 9, 0, 0),
		"tags of 2^32-1 in header":    head(3, 12, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"tag size beyond the frame":   head(3, 12, 1, 0, 0x7f),
		"varint without end":          head(3, 12, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"string longer than int16":    head(3, 1, 0, 0, 0, 1, 0x80, 0),
		"control request of 90 MB":    append(size(90<<20), head(3, 12)[4:]...),
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			p := dial(t, addr)
			p.write(b)
			p.closed()
		})
	}
	good := dial(t, addr)
	if resp := ask[*kmsg.MetadataResponse](good, kmsg.NewPtrMetadataRequest(), 12); len(resp.Brokers) != 1 {
		t.Fatalf("brokers: %v", resp.Brokers)
	}
}

// TestClaimedSizeCostsNothing: a hundred peers that claim frames of the largest size allowed and send few bytes must not make the broker allocate them.
func TestClaimedSizeCostsNothing(t *testing.T) {
	_, addr := startServer(t, Config{})
	const peers, claimed = 100, 100 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range peers {
		p := dial(t, addr)
		p.write(binary.BigEndian.AppendUint32(nil, claimed))
		p.write([]byte{0, 0, 0, 9, 0, 0, 0, 1, 0, 4}) // Produce v9 and a little more
		p.write(bytes.Repeat([]byte{1}, 64<<10))
	}
	ask[*kmsg.ApiVersionsResponse](dial(t, addr), named(), 3)
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > peers*(1<<20) {
		t.Errorf("%d peers that claimed %d bytes each made the broker allocate %d bytes", peers, claimed, grown)
	}
}

// TestDecodingIsBounded: a Produce of nothing but empty partitions is refused before its structs are built.
func TestDecodingIsBounded(t *testing.T) {
	b := []byte{0, 0, 1, 0, 0, 0, 0, 2, 2, 'a'} // v9: no transactional id, acks, timeout, one topic "a"
	b = binary.AppendUvarint(b, 1<<20+1)
	for range 1 << 20 {
		b = append(b, 0, 0, 0, 0, 1, 0) // partition 0, empty records, no tags
	}
	b = append(b, 0, 0)
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := decodeBody(req, b, true)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Error("a Produce of a million empty partitions was decoded")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("refusing it allocated %d bytes", grown)
	}
}

// TestProduceShape: every Produce that kmsg writes has a shape that is accepted.
func TestProduceShape(t *testing.T) {
	for v := int16(3); v <= 13; v++ {
		req := kmsg.NewPtrProduceRequest()
		req.Version = v
		id := "tx"
		req.TransactionID = &id
		for range 3 {
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic = "topic"
			for range 3 {
				rp := kmsg.NewProduceRequestTopicPartition()
				rp.Records = make([]byte, shapeFree/8)
				rt.Partitions = append(rt.Partitions, rp)
			}
			req.Topics = append(req.Topics, rt)
		}
		body := req.AppendTo(nil)
		if err := checkProduceShape(v, body); err != nil {
			t.Errorf("v%d: %v", v, err)
		}
		if err := checkProduceShape(v, body[:len(body)-2]); err == nil {
			t.Errorf("v%d: cut body accepted", v)
		}
	}
}

// TestAnswersInOrder: requests that wait do not hold back those behind them, whose answers nevertheless leave in request order.
func TestAnswersInOrder(t *testing.T) {
	started := make(chan int32, 10)
	release := make(chan struct{})
	swapHandler(t, kmsg.DescribeCluster, func(_ context.Context, _ *Server, r *request) reply {
		resp := kmsg.NewPtrDescribeClusterResponse()
		return later(func(context.Context) reply {
			started <- 1
			<-release
			return answer(resp)
		})
	})
	_, addr := startServer(t, Config{})
	p := dial(t, addr)
	slow, fast := kmsg.NewPtrDescribeClusterRequest(), kmsg.NewPtrMetadataRequest()
	fast.Version = 12
	c1, c2, c3, c4 := p.send(slow), p.send(fast), p.send(slow), p.send(fast)
	for range 2 {
		select {
		case <-started:
		case <-time.After(testTimeout):
			t.Fatal("a waiting request held back the next")
		}
	}
	p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := p.conn.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatal("an answer overtook an earlier one")
	}
	p.conn.SetReadDeadline(time.Now().Add(testTimeout))
	close(release)
	p.receive(slow, c1)
	p.receive(fast, c2)
	p.receive(slow, c3)
	p.receive(fast, c4)
}

// TestInFlightIsBounded: a peer that sends without end makes the broker start only so many requests.
func TestInFlightIsBounded(t *testing.T) {
	started := make(chan struct{}, 10*maxInFlight)
	swapHandler(t, kmsg.DescribeCluster, func(ctx context.Context, _ *Server, _ *request) reply {
		started <- struct{}{}
		return later(func(ctx context.Context) reply {
			<-ctx.Done()
			return reply{close: true}
		})
	})
	b := newBroker(t, map[string]string{"connections.max.idle.ms": "500"})
	s, addr := startServer(t, Config{Broker: func() *config.Broker { return b }})
	p := dial(t, addr)
	for range 3 * maxInFlight {
		p.send(kmsg.NewPtrDescribeClusterRequest())
	}
	for range maxInFlight {
		<-started
	}
	select {
	case <-started:
		t.Fatalf("more than %d requests in flight", maxInFlight)
	case <-time.After(50 * time.Millisecond):
	}
	p.conn.Close() // not seen, behind requests that are not read; but nothing has moved for the idle time
	eventually(t, "the connection to be forgotten", func() bool { return metric(t, s, "kafka_server_socket_server_metrics_connection_count") == 0 })
	if n := metric(t, s, "varve_server_requests_in_flight"); n != 0 {
		t.Errorf("%v requests in flight after the connection was lost", n)
	}
}

// TestPanicClosesOnlyItsConnection: in a handler, in a wait and in the encoding of an answer.
func TestPanicClosesOnlyItsConnection(t *testing.T) {
	for name, handle := range map[string]func() reply{
		"handler":  func() reply { panic("handler") },
		"wait":     func() reply { return later(func(context.Context) reply { panic("wait") }) },
		"encoding": func() reply { return answer((*kmsg.DescribeClusterResponse)(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			swapHandler(t, kmsg.DescribeCluster, func(context.Context, *Server, *request) reply { return handle() })
			s, addr := startServer(t, Config{})
			other, p := dial(t, addr), dial(t, addr)
			p.send(kmsg.NewPtrDescribeClusterRequest())
			p.closed()
			ask[*kmsg.MetadataResponse](other, kmsg.NewPtrMetadataRequest(), 12)
			if n := metric(t, s, "varve_server_panics_total"); n != 1 {
				t.Errorf("%v panics counted", n)
			}
		})
	}
}

// TestNoAnswer: acks=0 gets none, and does not stand in the way of the next answer.
func TestNoAnswer(t *testing.T) {
	swapHandler(t, kmsg.DescribeCluster, func(context.Context, *Server, *request) reply { return reply{none: true} })
	_, addr := startServer(t, Config{})
	p := dial(t, addr)
	p.send(kmsg.NewPtrDescribeClusterRequest())
	ask[*kmsg.MetadataResponse](p, kmsg.NewPtrMetadataRequest(), 12)
}

// TestGracefulStop: a request in flight is answered when the server stops, new connections are not accepted.
func TestGracefulStop(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	swapHandler(t, kmsg.DescribeCluster, func(context.Context, *Server, *request) reply {
		return later(func(context.Context) reply {
			close(inside)
			<-release
			return answer(kmsg.NewPtrDescribeClusterResponse())
		})
	})
	b, im := newBroker(t, nil), imageOf()
	s := New(Config{Self: 1, Broker: func() *config.Broker { return b }, Image: func() *metadata.Image { return im }, Registerer: prometheus.NewRegistry()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	p := dial(t, l.Addr().String())
	req := kmsg.NewPtrDescribeClusterRequest()
	corr := p.send(req)
	<-inside
	cancel()
	eventually(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	p.receive(req, corr)
	p.closed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestIdleAndMaxConnections: an idle connection closes after connections.max.idle.ms, one too many at once.
func TestIdleAndMaxConnections(t *testing.T) {
	b := newBroker(t, map[string]string{"connections.max.idle.ms": "300", "max.connections": "2"})
	s, addr := startServer(t, Config{Broker: func() *config.Broker { return b }})
	p1, p2 := dial(t, addr), dial(t, addr)
	ask[*kmsg.MetadataResponse](p1, kmsg.NewPtrMetadataRequest(), 12)
	ask[*kmsg.MetadataResponse](p2, kmsg.NewPtrMetadataRequest(), 12)
	dial(t, addr).closed()
	p1.closed()
	p2.closed()
	eventually(t, "connections to be forgotten", func() bool { return metric(t, s, "kafka_server_socket_server_metrics_connection_count") == 0 })
	ask[*kmsg.MetadataResponse](dial(t, addr), kmsg.NewPtrMetadataRequest(), 12)
}

// TestMaxConnectionsPerIP: one peer cannot take all connections.
func TestMaxConnectionsPerIP(t *testing.T) {
	b := newBroker(t, map[string]string{"max.connections.per.ip": "2"})
	s, addr := startServer(t, Config{Broker: func() *config.Broker { return b }})
	p1, p2 := dial(t, addr), dial(t, addr)
	ask[*kmsg.MetadataResponse](p1, kmsg.NewPtrMetadataRequest(), 12)
	ask[*kmsg.MetadataResponse](p2, kmsg.NewPtrMetadataRequest(), 12)
	dial(t, addr).closed()
	p1.conn.Close()
	eventually(t, "a place", func() bool { return metric(t, s, "kafka_server_socket_server_metrics_connection_count") == 1 })
	ask[*kmsg.MetadataResponse](dial(t, addr), kmsg.NewPtrMetadataRequest(), 12)
}

// TestFrameLivesUntilAnswered: what a waiting request holds (names and records are slices of a pooled frame) stays what the client sent,
// while other requests of this and other connections come and go in the same pool.
func TestFrameLivesUntilAnswered(t *testing.T) {
	const waiting, passing = 20, 200
	release := make(chan struct{})
	broken := make(chan string, waiting+2*passing)
	swapProduce(t, func(_ context.Context, _ *Server, r *request) reply {
		req := r.Request.(*kmsg.ProduceRequest)
		name := strings.Clone(req.Topics[0].Topic)
		check := func() reply {
			topic := req.Topics[0]
			if want := bytes.Repeat([]byte(name[:1]), 1<<10); topic.Topic != name || !bytes.Equal(topic.Partitions[0].Records, want) {
				broken <- name
			}
			return answer(req.ResponseKind())
		}
		if name != "waits" {
			return check()
		}
		return later(func(context.Context) reply {
			<-release
			return check()
		})
	})
	_, addr := startServer(t, Config{})
	produce := func(topic string) *kmsg.ProduceRequest {
		req := produceOf(topic, 0)
		req.Topics[0].Partitions[0].Records = bytes.Repeat([]byte(topic[:1]), 1<<10)
		return req
	}
	slow, fast := dial(t, addr), dial(t, addr)
	var corrs []int32
	for range waiting {
		corrs = append(corrs, slow.send(produce("waits")))
	}
	for range passing {
		req := produce("other")
		fast.receive(req, fast.send(req))
	}
	close(release)
	for _, corr := range corrs {
		slow.receive(produce("waits"), corr)
	}
	select {
	case topic := <-broken:
		t.Fatalf("a request for %q holds the bytes of another one", topic)
	default:
	}
}

// TestApiVersionsGolden replays what Kafka 4.3.1 answers to versions it does not serve and to a bad name, byte for byte.
func TestApiVersionsGolden(t *testing.T) {
	_, addr := startServer(t, Config{})
	files, err := filepath.Glob("testdata/golden/api-versions-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		request, want := readGolden(t, file)
		p := dial(t, addr)
		p.write(request)
		if got := sized(p.frame()); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", filepath.Base(file), got, want)
		}
	}
}

// readGolden reads request and response, sizes included, of a captured exchange.
func readGolden(t *testing.T, file string) (request, response []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		b, err := hex.DecodeString(value)
		if err != nil {
			continue
		}
		switch name {
		case "request":
			request = b
		case "response":
			response = b
		}
	}
	if request == nil || response == nil {
		t.Fatalf("%s: incomplete", file)
	}
	return request, response
}

// FuzzFrame: no frame makes the decoder panic, or allocate much more than its size.
func FuzzFrame(f *testing.F) {
	for key, a := range registry {
		for v := a.served; v <= a.max; v++ {
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			f.Add(encode(req, 1)[4:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < fixedHeader {
			return
		}
		a := registry[int16(binary.BigEndian.Uint16(b))]
		v := int16(binary.BigEndian.Uint16(b[2:]))
		if a == nil || v < a.served || v > a.max {
			return
		}
		x := &exchange{api: a, version: v, frame: &frame{b: b, class: -1}}
		_ = new(conn).decode(x)
	})
}
