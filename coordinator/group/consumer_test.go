package group

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"varve/metadata"
)

// TestConsumerStories plays the scripts in testdata/consumer against the machine, as TestStories does. A line
// `+3s beat x id=a epoch=0 topics=a owned= timeout=20s` is a heartbeat three seconds after the former event; what is not
// named has not changed. Writes are done at once unless the story says `+0s hold`.
func TestConsumerStories(t *testing.T) {
	files, err := filepath.Glob("testdata/consumer/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := newConsumerStory().play(t, string(text))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(text) {
				t.Errorf("%s went otherwise (-update to accept):\n%s", f, got)
			}
		})
	}
}

type consumerStory struct {
	group *consumer
	rules consumerRules
	image *metadata.Image
	start time.Time
	now   time.Time
	names map[ticket]string
	hold  bool
	saved metadata.GroupState
	out   strings.Builder
}

func newConsumerStory() *consumerStory {
	s := &consumerStory{start: time.Unix(1000, 0), names: map[ticket]string{},
		rules: consumerRules{session: 45 * time.Second, interval: 5 * time.Second, maxSize: 3, assignors: []string{"uniform", "range"}}}
	s.now = s.start
	s.topics("a:4")
	s.group = newConsumer("g", 7, &s.rules, s.image, s.now)
	return s
}

// topics replaces all topics: "a:4,b:2".
func (s *consumerStory) topics(text string) {
	s.image = &metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{}, ByName: map[string]*metadata.Topic{}}
	for w := range strings.SplitSeq(text, ",") {
		name, n, _ := strings.Cut(w, ":")
		partitions, _ := strconv.Atoi(n)
		topic := &metadata.Topic{ID: topicID(name), Name: name, Partitions: make([]*metadata.Partition, partitions)}
		s.image.Topics[topic.ID], s.image.ByName[name] = topic, topic
	}
}

func (s *consumerStory) play(t *testing.T, text string) string {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "    "):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			s.out.WriteString(line + "\n")
			continue
		}
		words := strings.Fields(line)
		d, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		s.out.WriteString(line + "\n")
		s.advance(s.now.Add(d))
		s.do(t, words[1], words[2:])
	}
	return s.out.String()
}

func (s *consumerStory) advance(until time.Time) {
	for at := s.group.deadline(); !at.IsZero() && !at.After(until); at = s.group.deadline() {
		s.now = at
		s.step(fmt.Sprintf("at %v: ", at.Sub(s.start)), tickEvent{})
	}
	s.now = until
}

func (s *consumerStory) do(t *testing.T, verb string, args []string) {
	o := options(args)
	var from ticket
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		from = ticket(len(s.names) + 1)
		s.names[from] = args[0]
	}
	number := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(o[key]); err == nil {
			return n
		}
		return otherwise
	}
	switch verb {
	case "wait":
	case "hold":
		s.hold = true
	case "saved", "failed":
		s.hold = false
		s.step("", savedEvent{s.group.saving, failure([]string{verb}, 0)})
	case "topics":
		s.topics(args[0])
		s.step("", topicsEvent{s.image})
	case "restore":
		s.group = restoreConsumer(s.saved, &s.rules, s.image, s.now)
		s.out.WriteString("    " + s.group.status() + "\n")
	case "beat":
		s.step("", s.beat(o, from, number("epoch", 0)))
	case "commit":
		e := commitEvent{from: from, memberID: o["id"], generation: int32(number("epoch", -1)), newer: o["old"] == ""}
		for tp := range parsePartitions(strings.ReplaceAll(o["partitions"], ",", " ")) {
			e.partitions = append(e.partitions, tp)
		}
		s.step("", e)
	case "join":
		s.step("", joinEvent{from: from, memberID: o["id"], protocolType: "consumer"})
	case "leave":
		s.step("", leaveEvent{from: from, members: []memberRef{{o["id"], optional(o, "instance")}}})
	case "delete":
		s.step("", deleteEvent{from: from})
	default:
		t.Fatalf("no event %q", verb)
	}
}

func (s *consumerStory) beat(o map[string]string, from ticket, epoch int) beatEvent {
	e := beatEvent{from: from, memberID: o["id"], epoch: int32(epoch), instanceID: optional(o, "instance"), rebalance: -1,
		regex: optional(o, "regex"), assignor: optional(o, "assignor"), clientID: "c", frozen: o["frozen"] != ""}
	if d, err := time.ParseDuration(o["timeout"]); err == nil {
		e.rebalance = d
	}
	if v, ok := o["topics"]; ok {
		e.topics = strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
	}
	if v, ok := o["owned"]; ok {
		e.owned = []metadata.TopicPartition{}
		for tp := range parsePartitions(strings.ReplaceAll(v, ",", " ")) {
			e.owned = append(e.owned, tp)
		}
	}
	if epoch == joining { // what every join says
		e.owned = []metadata.TopicPartition{}
		e.rebalance = max(e.rebalance, 20*time.Second)
	}
	return e
}

func (s *consumerStory) step(prefix string, event any) {
	before := s.group.status()
	effects := s.group.Step(event, s.now)
	if now := s.group.status(); now != before {
		s.out.WriteString("    " + prefix + "the group is " + now + "\n")
	}
	for _, effect := range effects {
		switch e := effect.(type) {
		case replyEffect:
			s.out.WriteString("    " + prefix + "reply to " + s.names[e.to] + ": " + s.show(e.body) + "\n")
		case saveEffect:
			s.out.WriteString("    " + prefix + "save: " + showConsumer(e.state) + "\n")
			if !s.hold {
				s.saved = e.state
				s.step(prefix, savedEvent{id: e.id})
			}
		case removeEffect:
			s.out.WriteString("    " + prefix + "delete the group\n")
		}
	}
}

func (s *consumerStory) show(body any) string {
	b, ok := body.(beaten)
	switch {
	case !ok:
		return showReply(body)
	case b.err != nil:
		return strings.TrimSpace(b.err.Message + " " + b.message)
	case b.assignment != nil:
		return fmt.Sprintf("epoch %d as %s with [%s]", b.epoch, b.memberID, showPartitions(b.assignment))
	}
	return fmt.Sprintf("epoch %d", b.epoch)
}

func showConsumer(g metadata.GroupState) string {
	var members []string
	for _, x := range g.Consumer.Members {
		text := fmt.Sprintf("%s@%d [%s]", x.MemberID, x.Epoch, showPartitions(x.Assigned))
		if len(x.Revoking) > 0 {
			text += " gives up [" + showPartitions(x.Revoking) + "]"
		}
		if memberState(x.State) == unreleased {
			text += " waits"
		}
		members = append(members, text)
	}
	slices.Sort(members)
	return strings.Join(append([]string{fmt.Sprintf("epoch %d", g.Generation)}, members...), ", ")
}
