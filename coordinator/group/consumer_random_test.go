package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// TestNoPartitionHasTwoOwners plays random histories of a consumer group: members join, leave, die, change their minds,
// lose answers, are slow to revoke; topics come, grow and go; writes fail, and coordinators move to what was written last.
// At no time may two clients own a partition. When the trouble ends, the group settles with every partition owned.
func TestNoPartitionHasTwoOwners(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(400) {
		if !t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) { newChaos(t, seed+i).run() }) {
			return
		}
	}
}

// chaos is a group with its clients, and what stands between them.
type chaos struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	rules   consumerRules
	group   *consumer
	image   *metadata.Image
	clients []*chaosClient
	tickets ticket
	saves   []saveEffect
	saved   metadata.GroupState // what Postgres has
	ids     int
	calm    bool // no more trouble
}

// chaosClient is a consumer. It may be wrong about the group, never about what it owns.
type chaosClient struct {
	id, instance string
	epoch        int32
	told         map[metadata.TopicPartition]int32 // the assignment it was last told of
	owned        map[metadata.TopicPartition]bool
	topics       []string
	regex        string
	assignor     string
	full         bool   // its next heartbeat says everything
	said         bool   // what it owns it has said since that last changed
	waits        ticket // 0: no heartbeat under way
	gone         bool
	away         bool // a static member between two lives
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{t: t, r: rand.New(rand.NewPCG(seed, 848)), now: time.Unix(1000, 0),
		rules: consumerRules{session: 45 * time.Second, interval: 5 * time.Second, maxSize: 100, assignors: []string{"uniform", "range"}}}
	c.image = &metadata.Image{Topics: map[metadata.TopicID]*metadata.Topic{}, ByName: map[string]*metadata.Topic{}}
	c.changeTopic("a", 3)
	c.changeTopic("b", 4)
	c.group = newConsumer("g", 7, &c.rules, c.image, c.now)
	return c
}

// changeTopic sets the number of partitions of a topic; 0 deletes it.
func (c *chaos) changeTopic(name string, partitions int) {
	next := &metadata.Image{Topics: maps.Clone(c.image.Topics), ByName: maps.Clone(c.image.ByName)}
	old := next.ByName[name]
	if old != nil {
		delete(next.Topics, old.ID)
		delete(next.ByName, name)
	}
	if partitions > 0 {
		id := uuid.UUID{byte(c.r.Uint32()), byte(c.r.Uint32()), byte(c.r.Uint32())}
		if old != nil {
			id = old.ID
		}
		topic := &metadata.Topic{ID: id, Name: name, Partitions: make([]*metadata.Partition, partitions)}
		next.Topics[id], next.ByName[name] = topic, topic
	}
	c.image = next
}

func (c *chaos) run() {
	for range 300 {
		c.trouble()
		c.check()
	}
	c.calm = true
	for range 70 { // longer than a session
		c.now = c.now.Add(time.Second)
		c.step(tickEvent{})
		for _, x := range c.clients {
			c.revoke(x, true)
			c.beat(x)
		}
		for len(c.saves) > 0 {
			c.write(nil)
		}
		c.check()
	}
	c.checkSettled()
}

func (c *chaos) trouble() {
	c.now = c.now.Add(time.Duration(c.r.IntN(3000)) * time.Millisecond)
	c.step(tickEvent{})
	switch n := c.r.IntN(100); {
	case n < 6 && len(c.clients) < 8:
		c.join()
	case n < 60:
		c.any(c.beat)
	case n < 75:
		c.any(func(x *chaosClient) { c.revoke(x, c.r.IntN(2) == 0) })
	case n < 92:
		var err *kerr.Error
		if c.r.IntN(8) == 0 {
			err = kerr.CoordinatorNotAvailable
		}
		c.write(err)
	case n < 94:
		c.any(func(x *chaosClient) { x.gone, x.owned = true, nil }) // killed
	case n < 96:
		c.any(c.leave)
	case n < 97:
		c.any(func(x *chaosClient) { c.subscribe(x); x.full = true })
	case n < 98:
		c.changeTopic([]string{"a", "b", "c"}[c.r.IntN(3)], c.topicSize())
		c.step(topicsEvent{c.image})
	case n < 99:
		c.any(func(x *chaosClient) { x.waits, x.full = 0, true }) // loses an answer
	default:
		c.move()
	}
}

// topicSize keeps topics from shrinking other than to nothing.
func (c *chaos) topicSize() int {
	if c.r.IntN(3) == 0 {
		return 0
	}
	return 5 + c.r.IntN(2)
}

// move has another coordinator go on from what was written. A write under way may or may not have been done.
func (c *chaos) move() {
	if len(c.saves) > 0 && c.r.IntN(2) == 0 {
		c.saved = c.saves[0].state
	}
	c.saves = nil
	if c.saved.Consumer == nil {
		c.group = newConsumer("g", 7, &c.rules, c.image, c.now)
	} else {
		c.group = restoreConsumer(c.saved, &c.rules, c.image, c.now)
	}
	for _, x := range c.clients {
		x.waits, x.full = 0, true
	}
}

func (c *chaos) any(do func(*chaosClient)) {
	if len(c.clients) > 0 {
		do(c.clients[c.r.IntN(len(c.clients))])
	}
	c.clients = slices.DeleteFunc(c.clients, func(x *chaosClient) bool { return x.gone })
}

func (c *chaos) newID() string { c.ids++; return fmt.Sprint("m", c.ids) }

func (c *chaos) join() {
	x := &chaosClient{id: c.newID(), full: true, assignor: []string{"", "uniform", "range"}[c.r.IntN(3)]}
	if c.r.IntN(4) == 0 {
		x.instance = fmt.Sprint("i", c.ids)
	}
	c.subscribe(x)
	c.clients = append(c.clients, x)
}

func (c *chaos) subscribe(x *chaosClient) {
	x.topics, x.regex = [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {}}[c.r.IntN(4)], ""
	if len(x.topics) == 0 {
		x.regex = []string{"[a-c]", "a|b", ""}[c.r.IntN(3)]
	}
}

func (x *chaosClient) ownedList() []metadata.TopicPartition {
	return inOrder(x.owned)
}

func (c *chaos) beat(x *chaosClient) {
	if x.waits != 0 || x.gone {
		return
	}
	if x.away { // it returns as another process
		x.away, x.id, x.epoch, x.full = false, c.newID(), 0, true
	}
	if x.full || x.epoch == 0 || !x.said {
		x.forgetUnadopted()
	}
	c.tickets++
	x.waits = c.tickets
	e := beatEvent{from: x.waits, memberID: x.id, epoch: x.epoch, rebalance: -1}
	if x.instance != "" {
		e.instanceID = &x.instance
	}
	if x.full || x.epoch == 0 {
		e.rebalance, e.topics, e.regex, e.owned = 20*time.Second, x.topics, &x.regex, x.ownedList()
		if x.assignor != "" {
			e.assignor = &x.assignor
		}
	}
	if !x.said {
		e.owned = x.ownedList()
	}
	x.said = true
	c.step(e)
}

// forgetUnadopted makes the report of what the client owns binding: what it does not own now it takes over only when it is
// told of it anew. (The coordinator may give away at once what a member says it does not own.)
func (x *chaosClient) forgetUnadopted() {
	for tp := range x.told {
		if !x.owned[tp] {
			x.full = true
			x.told = maps.Clone(x.told)
			delete(x.told, tp)
		}
	}
}

func (c *chaos) leave(x *chaosClient) {
	if x.epoch <= 0 || x.waits != 0 {
		return
	}
	e := beatEvent{memberID: x.id, epoch: leaving, rebalance: -1}
	x.owned = map[metadata.TopicPartition]bool{}
	if x.instance != "" {
		e.instanceID, e.epoch = &x.instance, leavingAsStatic
		x.away, x.told = true, nil
	} else {
		x.gone = true
	}
	c.step(e)
}

// revoke gives up what the client was told to, all or some of it; then it takes over the rest of its assignment.
func (c *chaos) revoke(x *chaosClient, all bool) {
	if x.told == nil || x.gone || x.away {
		return
	}
	for _, tp := range inOrder(x.owned) {
		if _, keeps := x.told[tp]; !keeps && (all || c.r.IntN(2) == 0) {
			delete(x.owned, tp)
			x.said = false
		}
	}
	for tp := range x.owned {
		if _, keeps := x.told[tp]; !keeps {
			return
		}
	}
	for tp := range x.told {
		if !x.owned[tp] {
			x.owned[tp] = true
			x.said = false
		}
	}
}

func (c *chaos) step(event any) {
	for _, effect := range c.group.Step(event, c.now) {
		switch e := effect.(type) {
		case saveEffect:
			c.saves = append(c.saves, e)
		case replyEffect:
			c.hear(e)
		}
	}
	if len(c.saves) > 1 {
		c.t.Fatal("two writes at a time")
	}
}

// write ends the write under way.
func (c *chaos) write(err *kerr.Error) {
	if len(c.saves) == 0 {
		return
	}
	s := c.saves[0]
	c.saves = nil
	if err == nil {
		c.saved = s.state
	}
	c.step(savedEvent{s.id, err})
}

func (c *chaos) hear(e replyEffect) {
	i := slices.IndexFunc(c.clients, func(x *chaosClient) bool { return x.waits == e.to })
	if i < 0 {
		return // nobody waits for it any more
	}
	x := c.clients[i]
	x.waits = 0
	a, ok := e.body.(beaten)
	err, _ := e.body.(*kerr.Error)
	if ok {
		err = a.err
	}
	switch err {
	case nil:
		x.epoch, x.full = a.epoch, false
		if a.assignment != nil {
			x.told = a.assignment
			if x.owned == nil {
				x.owned = map[metadata.TopicPartition]bool{}
			}
		}
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID, kerr.GroupIDNotFound, kerr.FencedInstanceID:
		x.epoch, x.owned, x.told, x.full = 0, map[metadata.TopicPartition]bool{}, nil, true
	case kerr.CoordinatorNotAvailable, kerr.UnreleasedInstanceID:
		x.full = true
	default:
		c.t.Fatalf("%s at epoch %d: %v", x.id, x.epoch, err)
	}
}

// check holds the invariants: no partition with two owners, and no client owns what the coordinator does not know of.
// A client that the coordinator has removed, for being silent or slow, does not count: it will hear of it.
func (c *chaos) check() {
	owner := map[metadata.TopicPartition]string{}
	for _, x := range c.group.members {
		for _, set := range []map[metadata.TopicPartition]int32{x.Assigned, x.Revoking} {
			for tp := range set {
				if other, twice := owner[tp]; twice {
					c.t.Fatalf("%v belongs to %s and %s", tp, other, x.MemberID)
				}
				owner[tp] = x.MemberID
			}
		}
	}
	if !maps.Equal(owner, c.group.owner) {
		c.t.Fatalf("owners %v, members say %v", c.group.owner, owner)
	}
	for _, x := range c.clients {
		if c.group.members[x.id] == nil {
			continue
		}
		for tp := range x.owned {
			if owner[tp] != x.id {
				c.t.Fatalf("%s owns %v, which the coordinator gave to %q", x.id, tp, owner[tp])
			}
		}
	}
}

func (c *chaos) checkSettled() {
	if len(c.clients) == 0 {
		return
	}
	left := map[metadata.TopicPartition]bool{}
	for id, partitions := range c.group.subscribed() {
		for p := range partitions {
			left[metadata.TopicPartition{TopicID: id, Partition: p}] = true
		}
	}
	for _, x := range c.clients {
		for tp := range x.owned {
			if !left[tp] {
				c.t.Errorf("%s owns %v", x.id, tp)
			}
			delete(left, tp)
		}
	}
	if state := c.group.status(); len(left) > 0 || state != "Stable" {
		c.t.Fatalf("%s, nobody owns %v", state, left)
	}
}
