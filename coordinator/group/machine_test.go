package group

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

var update = flag.Bool("update", false, "write the outcomes in testdata anew")

// TestStories plays the scripts in testdata against the machine. A line `+3s join x new=a` is an event three seconds
// after the former; indented lines below are its effects, and those of deadlines that passed before it. Tickets have
// the names that the events give them. With -update the effects are written anew.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory().play(t, string(text))
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

type story struct {
	machine *machine
	rules   rules
	start   time.Time
	now     time.Time
	names   map[ticket]string
	saved   metadata.GroupState
	out     strings.Builder
}

func newStory() *story {
	s := &story{start: time.Unix(1000, 0), names: map[ticket]string{},
		rules: rules{minSession: 6 * time.Second, maxSession: 30 * time.Minute, initialDelay: 3 * time.Second, maxSize: 1000}}
	s.now = s.start
	s.machine = newMachine("g", 7, &s.rules, s.now)
	return s
}

func (s *story) play(t *testing.T, text string) string {
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
		s.pass(s.now.Add(d))
		s.event(t, words[1], words[2:])
	}
	return s.out.String()
}

// pass lets time pass, deadline by deadline.
func (s *story) pass(to time.Time) {
	for {
		due := s.machine.deadline()
		if due.IsZero() || due.After(to) {
			s.now = to
			return
		}
		s.now = due
		s.step("at "+due.Sub(s.start).String()+": ", tickEvent{})
	}
}

func (s *story) step(prefix string, event any) {
	before := s.machine.state
	for _, e := range s.machine.Step(event, s.now) {
		fmt.Fprintf(&s.out, "    %s%s\n", prefix, s.show(e))
	}
	if s.machine.state != before {
		fmt.Fprintf(&s.out, "    %sthe group is %s\n", prefix, s.machine.state)
	}
}

func (s *story) event(t *testing.T, verb string, args []string) {
	if verb == "restart" {
		s.machine = restore(s.saved, &s.rules, s.now)
		return
	}
	o := options(args)
	from := ticket(0)
	if len(args) > 0 && verb != "saved" && verb != "deleted" && verb != "limit" {
		from = ticket(len(s.names) + 1)
		s.names[from] = args[0]
	}
	generation, _ := strconv.Atoi(o["gen"])
	switch verb {
	case "wait":
	case "limit":
		s.rules.maxSize, _ = strconv.Atoi(args[0])
	case "join":
		e := joinEvent{from: from, memberID: o["id"], newID: o["new"], instanceID: optional(o, "instance"), clientID: "c", clientHost: "/h",
			session: 10 * time.Second, rebalance: 30 * time.Second, protocolType: "consumer",
			needsKnownID: o["needsid"] != "", skipsAssignment: o["old"] == ""}
		if v, ok := o["type"]; ok {
			e.protocolType = v
		}
		for p := range strings.SplitSeq(valueOr(o, "protocols", "range:1"), ",") {
			name, data, _ := strings.Cut(p, ":")
			e.protocols = append(e.protocols, protocol{name, []byte(data)})
		}
		s.step("", e)
	case "sync":
		e := syncEvent{from: from, memberID: o["id"], instanceID: optional(o, "instance"), generation: int32(generation),
			protocolType: optional(o, "type"), protocol: optional(o, "protocol")}
		if a, ok := o["assign"]; ok {
			e.assignments = map[string][]byte{}
			for x := range strings.SplitSeq(a, ",") {
				id, data, _ := strings.Cut(x, ":")
				e.assignments[id] = []byte(data)
			}
		}
		s.step("", e)
	case "beat":
		s.step("", heartbeatEvent{from: from, memberID: o["id"], instanceID: optional(o, "instance"), generation: int32(generation)})
	case "commit":
		e := commitEvent{from: from, memberID: o["id"], instanceID: optional(o, "instance"), generation: -1}
		if _, ok := o["gen"]; ok {
			e.generation = int32(generation)
		}
		s.step("", e)
	case "leave":
		s.step("", leaveEvent{from: from, members: []memberRef{{o["id"], optional(o, "instance")}}})
	case "delete":
		e := deleteEvent{from: from}
		if d, err := time.ParseDuration(o["idle"]); err == nil {
			e.idleSince = s.now.Add(-d)
		}
		s.step("", e)
	case "deleted":
		s.step("", deletedEvent{failure(args, 0)})
	case "saved":
		id, err := strconv.Atoi(args[0])
		if err != nil {
			t.Fatal(err)
		}
		s.step("", savedEvent{int64(id), failure(args, 1)})
	default:
		t.Fatalf("no event %q", verb)
	}
}

func failure(args []string, i int) *kerr.Error {
	if len(args) > i && args[i] == "failed" {
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

func options(args []string) map[string]string {
	o := map[string]string{}
	for _, a := range args {
		if k, v, ok := strings.Cut(a, "="); ok {
			o[k] = v
		} else {
			o[a] = a
		}
	}
	return o
}

func optional(o map[string]string, key string) *string {
	if v, ok := o[key]; ok {
		return &v
	}
	return nil
}

func valueOr(o map[string]string, key, otherwise string) string {
	if v, ok := o[key]; ok {
		return v
	}
	return otherwise
}

func (s *story) show(effect any) string {
	switch e := effect.(type) {
	case replyEffect:
		return "reply to " + s.names[e.to] + ": " + showReply(e.body)
	case saveEffect:
		s.saved = e.state
		assigned := map[string]string{}
		for _, m := range e.state.Members {
			assigned[m.MemberID] = string(m.Assignment)
		}
		return fmt.Sprintf("save %d: generation %d, protocol %q, leader %q, members %s", e.id, e.state.Generation, e.state.Protocol, e.state.Leader, showMap(assigned))
	case removeEffect:
		return "delete the group"
	}
	return fmt.Sprintf("%#v", effect)
}

func showReply(body any) string {
	switch b := body.(type) {
	case joined:
		if b.err != nil {
			return b.err.Message + " member " + strconv.Quote(b.memberID)
		}
		text := fmt.Sprintf("joined generation %d as %s, protocol %s, leader %s", b.generation, b.memberID, *b.protocol, b.leader)
		if b.members != nil {
			members := map[string]string{}
			for _, m := range b.members {
				members[m.memberID] = string(m.metadata)
			}
			text += ", members " + showMap(members)
		}
		if b.skipAssignment {
			text += ", skips the assignment"
		}
		return text
	case synced:
		if b.err != nil {
			return b.err.Message
		}
		return fmt.Sprintf("assigned %q", b.assignment)
	case left:
		if b.err != nil {
			return b.err.Message
		}
		return "left: " + showReply(b.members[0])
	case *kerr.Error:
		if b != nil {
			return b.Message
		}
		return "ok"
	}
	return fmt.Sprintf("%#v", body)
}

func showMap(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+":"+m[k])
	}
	return "[" + strings.Join(out, " ") + "]"
}
