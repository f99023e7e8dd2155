package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator/group"
	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// groupAPIs are the APIs whose exchanges TestGroupsGolden replays.
var groupAPIs = []string{"FindCoordinator", "OffsetCommit", "OffsetFetch", "JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup",
	"DescribeGroups", "ListGroups", "DeleteGroups", "OffsetDelete"}

// otherwise are the exchanges that Varve answers otherwise, with the reason.
var otherwise = map[string]string{
	"find-coordinator-v3":           "no transactions yet",
	"find-coordinator-transaction":  "no transactions yet",
	"find-coordinator-unknown-type": "the message says what is wrong",
	"offset-fetch-unstable":         "no transactions yet",
	"delete-groups-not-empty":       "results in the order of the request; TestGroupsGolden compares them by name",
}

// TestGroupsGolden replays what clients asked Kafka 4.3.1's group coordinator, in order, and wants the same bytes, but for ids that the
// broker chooses.
func TestGroupsGolden(t *testing.T) {
	s, topic := groupServer(t)
	text, err := os.ReadFile("../testdata/wire/exchanges.txt")
	if err != nil {
		t.Fatal(err)
	}
	ids := ids{{golden: goldenTopicID(t, string(text)), ours: topic[:]}}
	replayed := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		x := parseExchange(t, block)
		if !isGroupAPI(x.api) || len(x.response) == 0 || strings.HasPrefix(x.name, "consumer-group-") {
			continue // groups of the new protocol (KIP-848) are not there yet
		}
		replayed++
		got := s.exchange(t, ids.replace(x.request, false))
		ids.learn(x.response, got)
		got = ids.replace(got, true)
		switch reason := otherwise[x.name]; {
		case x.name == "delete-groups-not-empty":
			compareDeleted(t, got, x.response)
		case reason != "" && bytes.Equal(got, x.response):
			t.Errorf("%s is answered as by Kafka: it is no exception any more", x.name)
		case reason == "" && !bytes.Equal(got, x.response):
			t.Errorf("%s:\n got %x\nwant %x", x.name, got, x.response)
		}
	}
	if replayed < 60 {
		t.Errorf("only %d exchanges", replayed)
	}
}

// groupServer is a server, listening nowhere, whose coordinator owns every shard.
func groupServer(t *testing.T) (*Server, metadata.TopicID) {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: testpg.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, err := store.ClusterID(t.Context()); err != nil {
		t.Fatal(err)
	}
	epoch, err := store.Register(t.Context(), metadata.Registration{ID: 1, Incarnation: uuid.New(), Host: "127.0.0.1", Port: 19492, Dirs: []metadata.DirID{uuid.New()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Heartbeat(t.Context(), 1, epoch, 1<<40, testTimeout); err != nil {
		t.Fatal(err)
	}
	topics, err := store.CreateTopics(t.Context(), []metadata.NewTopic{{Name: "wire", Assignment: [][]metadata.BrokerID{{1}, {1}}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	controller, ok, err := store.AcquireController(t.Context(), 1, testTimeout)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := store.ControllerPass(t.Context(), controller); err != nil {
		t.Fatal(err)
	}
	im, err := store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image := func() *metadata.Image { return im }
	groups := group.New(group.Config{Self: 1, Store: store, Image: image})
	t.Cleanup(groups.Close)
	groups.Apply(im)
	eventually(t, "the shards to load", func() bool {
		return groups.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()).ErrorCode == 0
	})
	return &Server{cfg: Config{Image: image, Groups: groups}, log: slog.New(slog.DiscardHandler)}, topics[0].ID
}

// exchange handles one framed request as a connection would.
func (s *Server) exchange(t *testing.T, frame []byte) []byte {
	t.Helper()
	frame = frame[sizePrefix:]
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	h, err := parseHeader(frame, req.IsFlexible())
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeBody(req, h.body, false); err != nil {
		t.Fatal(err)
	}
	r := registry[key].handle(t.Context(), s, &request{Request: req, clientID: string(h.clientID), clientHost: "127.0.0.1"})
	for r.wait != nil {
		r = r.wait(t.Context())
	}
	r.message.SetVersion(version)
	tags := 0
	if req.IsFlexible() {
		tags = 1
	}
	b := r.message.AppendTo(appendHeader(nil, 0, h.correlationID, tags))
	binary.BigEndian.PutUint32(b, uint32(len(b)-sizePrefix))
	return b
}

type goldenExchange struct {
	name, api         string
	request, response []byte
}

func parseExchange(t *testing.T, block string) goldenExchange {
	t.Helper()
	var x goldenExchange
	for line := range strings.SplitSeq(block, "\n") {
		name, value, _ := strings.Cut(line, " ")
		var err error
		switch name {
		case "case":
			x.name = value
		case "api":
			x.api = value
		case "request":
			x.request, err = hex.DecodeString(value)
		case "response":
			if !strings.HasPrefix(value, "(") {
				x.response, err = hex.DecodeString(value)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func isGroupAPI(api string) bool {
	name, _, _ := strings.Cut(api, " ")
	for _, a := range groupAPIs {
		if a == name {
			return true
		}
	}
	return false
}

// ids are the ids that Kafka chose and ours, of the same length.
type ids []struct{ golden, ours []byte }

// replace puts ours in the place of golden ones, or back.
func (l ids) replace(b []byte, back bool) []byte {
	for _, id := range l {
		from, to := id.golden, id.ours
		if back {
			from, to = to, from
		}
		b = bytes.ReplaceAll(b, from, to)
	}
	return b
}

// learn finds the member id that a JoinGroup's answer gives: name, dash and UUID, at the same places in both.
func (l *ids) learn(golden, ours []byte) {
	const uuidLen = 36
	if len(golden) != len(ours) {
		return
	}
	for i := 0; i+uuidLen <= len(golden); i++ {
		g, o := golden[i:i+uuidLen], ours[i:i+uuidLen]
		if bytes.Equal(g, o) || bytes.Equal((*l).replace(o, true), g) {
			continue
		}
		_, err1 := uuid.ParseBytes(g)
		_, err2 := uuid.ParseBytes(o)
		if err1 == nil && err2 == nil {
			*l = append(*l, struct{ golden, ours []byte }{bytes.Clone(g), bytes.Clone(o)})
		}
	}
}

// goldenTopicID is the id that topic "wire" had in Kafka.
func goldenTopicID(t *testing.T, text string) []byte {
	t.Helper()
	for block := range strings.SplitSeq(text, "\n\n") {
		if x := parseExchange(t, block); x.name == "offset-fetch-hit-v10" {
			resp := kmsg.NewPtrOffsetFetchResponse()
			resp.SetVersion(10)
			if err := resp.ReadFrom(x.response[9:]); err != nil {
				t.Fatal(err)
			}
			id := resp.Groups[0].Topics[0].TopicID
			return id[:]
		}
	}
	t.Fatal("no exchange tells the topic id")
	return nil
}

func compareDeleted(t *testing.T, got, want []byte) {
	t.Helper()
	decode := func(b []byte) map[string]int16 {
		resp := kmsg.NewPtrDeleteGroupsResponse()
		resp.SetVersion(2)
		if err := resp.ReadFrom(b[9:]); err != nil {
			t.Fatal(err)
		}
		out := map[string]int16{}
		for _, g := range resp.Groups {
			out[g.Group] = g.ErrorCode
		}
		return out
	}
	g, w := decode(got), decode(want)
	for name, code := range w {
		if g[name] != code || len(g) != len(w) {
			t.Errorf("deleted %v, want %v", g, w)
		}
	}
}
