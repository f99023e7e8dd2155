package group

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

const (
	// mailboxSize bounds the messages of a shard; who sends more waits.
	mailboxSize = 128
	// frozenPause is how often deadlines are looked at while Postgres is away.
	frozenPause = 500 * time.Millisecond
)

// phase says what a shard answers.
type phase int8

const (
	foreign phase = iota // another broker's: NOT_COORDINATOR
	loading              // COORDINATOR_LOAD_IN_PROGRESS
	serving
)

// Messages to a shard. answer has room for one value: a reply of the machine, or a *kerr.Error.
type (
	request struct {
		group   string
		event   any
		from    ticket
		answer  chan any
		offsets []metadata.OffsetCommit // with a commitEvent
	}
	// inspection reads the machines of a shard that serves.
	inspection struct {
		read   func(machines map[string]anyGroup) any
		answer chan any
	}
	loaded struct {
		epoch  int32
		groups []metadata.GroupState
		err    error
	}
	written struct {
		epoch int32
		group string
		event any
	}
)

// shard is one of the coordinator's shards. Its goroutine owns all fields but mail and nudge.
type shard struct {
	c     *Coordinator
	index int32
	mail  chan any
	nudge chan struct{} // look again at who owns the shard and which deadlines are due

	phase    phase
	epoch    int32
	topics   *metadata.Image // that the machines know
	machines map[string]anyGroup
	alarms   map[string]*alarm
	due      alarms
	timer    *time.Timer
	waiting  map[ticket]chan any
	writer   *writer
}

func newShard(c *Coordinator, index int32) *shard {
	s := &shard{c: c, index: index, mail: make(chan any, mailboxSize), nudge: make(chan struct{}, 1), epoch: -1, timer: time.NewTimer(0)}
	s.timer.Stop()
	return s
}

func (s *shard) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

func (s *shard) run() {
	defer s.timer.Stop()
	for {
		select {
		case m := <-s.mail:
			s.receive(m)
		case <-s.nudge:
			s.settle()
		case <-s.timer.C:
		case <-s.c.ctx.Done():
			s.drop(kerr.CoordinatorNotAvailable)
			return
		}
		s.ring()
	}
}

func (s *shard) receive(m any) {
	switch m := m.(type) {
	case request:
		s.request(m)
	case inspection:
		if err := s.refusal(); err != nil {
			m.answer <- err
		} else {
			m.answer <- m.read(s.machines)
		}
	case trim:
		s.trim(m)
	case loaded:
		if m.epoch == s.epoch && s.phase == loading {
			s.serve(m)
		}
	case written:
		if m.epoch == s.epoch && s.phase == serving && s.machines[m.group] != nil {
			s.step(m.group, m.event)
			if d, ok := m.event.(deletedEvent); ok && d.err == nil {
				s.forget(m.group)
			}
		}
	}
}

// refusal is why the shard does not serve, or nil.
func (s *shard) refusal() *kerr.Error {
	switch s.phase {
	case foreign:
		return kerr.NotCoordinator
	case loading:
		return kerr.CoordinatorLoadInProgress
	}
	return nil
}

// settle follows the image: takes the shard over, or lets it go.
func (s *shard) settle() {
	if im := s.c.topics.Load(); im != s.topics {
		s.topics = im
		for _, m := range s.machines {
			if g, ok := m.(*consumer); ok {
				g.Step(topicsEvent{im}, s.c.clock.now())
			}
		}
	}
	owned := s.c.owned[s.index].Load()
	if owned == nil || owned.Owner != s.c.cfg.Self {
		if s.phase != foreign {
			s.drop(kerr.NotCoordinator)
		}
		return
	}
	if owned.Epoch <= s.epoch {
		return
	}
	s.drop(kerr.NotCoordinator)
	s.phase, s.epoch = loading, owned.Epoch
	s.c.work.Go(func() { s.load(owned.Epoch) })
}

// load reads the groups of the shard, trying until Postgres answers or the shard is lost.
func (s *shard) load(epoch int32) {
	for {
		groups, err := s.c.cfg.Store.LoadShard(s.c.ctx, s.index, epoch)
		s.c.observed(err)
		stale := errors.Is(err, kerr.NotCoordinator)
		if err == nil || stale {
			s.c.send(s.c.ctx, s, loaded{epoch, groups, err})
			return
		}
		s.c.pause(retryPause)
		if now := s.c.owned[s.index].Load(); now.Epoch != epoch || s.c.ctx.Err() != nil {
			return
		}
		s.c.log.Warn("group shard not loaded yet", "shard", s.index, "err", err)
	}
}

func (s *shard) serve(m loaded) {
	if m.err != nil { // the image is behind: a newer one will tell who owns the shard
		s.phase = foreign
		return
	}
	s.phase = serving
	s.machines, s.alarms, s.waiting = map[string]anyGroup{}, map[string]*alarm{}, map[ticket]chan any{}
	epoch := s.epoch
	s.writer = &writer{c: s.c, shard: s.index, epoch: epoch, done: func(group string, event any) {
		s.c.send(s.c.ctx, s, written{epoch, group, event})
	}}
	for _, g := range m.groups {
		machine := restoreGroup(g, s.c, s.c.clock.now())
		s.machines[g.GroupID] = machine
		s.c.metrics.moved("", machine.summary().state)
		s.arm(g.GroupID, machine)
	}
	s.c.log.Debug("coordinating group shard", "shard", s.index, "epoch", epoch, "groups", len(m.groups))
}

// drop forgets all groups and answers whoever waits.
func (s *shard) drop(err *kerr.Error) {
	for _, answer := range s.waiting {
		answer <- err
	}
	for _, m := range s.machines {
		s.c.metrics.moved(m.summary().state, "")
	}
	s.phase, s.machines, s.alarms, s.due, s.waiting, s.writer = foreign, nil, nil, nil, nil, nil
}

func (s *shard) request(r request) {
	if err := s.refusal(); err != nil {
		r.answer <- err
		return
	}
	m := s.machines[r.group]
	if m == nil {
		if err := admit(r.event); err != nil {
			r.answer <- err
			return
		}
		m = newGroup(r.group, s.index, s.c, r.event, s.c.clock.now())
		s.machines[r.group] = m
		s.c.metrics.moved("", m.summary().state)
	}
	if e, ok := r.event.(beatEvent); ok {
		e.frozen = s.c.clock.frozen()
		r.event = e
	}
	if known := m.summary(); changesKind(known, r.event) {
		next := newGroup(r.group, s.index, s.c, r.event, s.c.clock.now())
		succeed(next, known)
		s.machines[r.group] = next
		m = next
	}
	if classic, ok := m.(*machine); ok {
		if _, beats := r.event.(beatEvent); beats {
			r.answer <- classic.refuseBeat()
			return
		}
	}
	if err := s.frozen(r.event); err != nil {
		r.answer <- err
		s.tidy(r.group, m)
		return
	}
	if _, ok := r.event.(commitEvent); !ok {
		s.waiting[r.from] = r.answer
		s.step(r.group, r.event)
		return
	}
	before := m.summary().state
	effects := m.Step(r.event, s.c.clock.now())
	s.c.metrics.moved(before, m.summary().state)
	s.arm(r.group, m)
	if err := effects[0].(replyEffect).body.(*kerr.Error); err != nil {
		r.answer <- err
		return
	}
	if len(r.offsets) == 0 {
		r.answer <- (*kerr.Error)(nil)
		return
	}
	now := time.Now()
	c := &commit{offsets: r.offsets, answer: r.answer, accepted: now, deadline: now.Add(s.c.cfg.CommitTimeout)}
	if !s.writer.add(op{commit: c, group: r.group}) {
		r.answer <- kerr.CoordinatorNotAvailable
	}
}

// admit says what an unknown group answers; nil: the event creates it.
func admit(event any) *kerr.Error {
	switch e := event.(type) {
	case joinEvent:
		if e.memberID == "" {
			return nil
		}
	case commitEvent:
		switch {
		case e.generation < 0:
			return nil
		case e.newer:
			return kerr.GroupIDNotFound
		}
		return kerr.IllegalGeneration
	case beatEvent:
		if e.epoch == joining {
			return nil
		}
		return kerr.GroupIDNotFound
	case deleteEvent:
		return kerr.GroupIDNotFound
	}
	return kerr.UnknownMemberID
}

// frozen refuses, while Postgres is away, what would begin a rebalance: no generation could come of it, and members
// that work would stop working.
func (s *shard) frozen(event any) *kerr.Error {
	switch event.(type) {
	case joinEvent, leaveEvent:
		if s.c.clock.frozen() {
			return kerr.CoordinatorNotAvailable
		}
	}
	return nil
}

// step gives a machine an event and carries out the effects.
func (s *shard) step(group string, event any) {
	m := s.machines[group]
	before := m.summary().state
	effects := m.Step(event, s.c.clock.now())
	s.c.metrics.moved(before, m.summary().state)
	s.arm(group, m)
	var refused []any
	for _, e := range effects {
		switch e := e.(type) {
		case replyEffect:
			if answer := s.waiting[e.to]; answer != nil {
				delete(s.waiting, e.to)
				answer <- e.body
			}
		case saveEffect:
			if !s.writer.add(op{save: &e, group: group}) {
				refused = append(refused, savedEvent{e.id, kerr.CoordinatorNotAvailable})
			}
		case removeEffect:
			if !s.writer.add(op{remove: true, group: group}) {
				refused = append(refused, deletedEvent{kerr.CoordinatorNotAvailable})
			}
		}
	}
	for _, event := range refused {
		s.step(group, event)
	}
	s.tidy(group, m)
}

// tidy forgets a group that has nothing to remember.
func (s *shard) tidy(group string, m anyGroup) {
	if m.disposable() && s.machines[group] == m {
		s.forget(group)
	}
}

func (s *shard) forget(group string) {
	m := s.machines[group]
	s.c.metrics.moved(m.summary().state, "")
	delete(s.machines, group)
	if a := s.alarms[group]; a != nil {
		heap.Remove(&s.due, a.index)
		delete(s.alarms, group)
	}
}

// arm keeps the alarm of a group at its machine's deadline.
func (s *shard) arm(group string, m anyGroup) {
	at, a := m.deadline(), s.alarms[group]
	switch {
	case at.IsZero() && a != nil:
		heap.Remove(&s.due, a.index)
		delete(s.alarms, group)
	case at.IsZero() || a != nil && a.at.Equal(at):
	case a != nil:
		a.at = at
		heap.Fix(&s.due, a.index)
	default:
		a = &alarm{group: group, at: at}
		s.alarms[group] = a
		heap.Push(&s.due, a)
	}
}

// ring lets the deadlines take effect that are due, if Postgres is known to be there, and sets the timer to the next.
func (s *shard) ring() {
	s.timer.Stop()
	for len(s.due) > 0 {
		wait := s.due[0].at.Sub(s.c.clock.now())
		if wait > 0 && !s.c.clock.frozen() {
			s.timer.Reset(wait)
			return
		}
		if !s.c.clock.confirmed() {
			s.c.probe() // wakes all shards when Postgres has answered
			s.timer.Reset(frozenPause)
			return
		}
		s.step(s.due[0].group, tickEvent{})
	}
}

// alarm is the deadline of one group.
type alarm struct {
	group string
	at    time.Time
	index int
}

// alarms is a heap by time.
type alarms []*alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i]; a[i].index, a[j].index = i, j }

// Push is for package heap.
func (a *alarms) Push(x any) {
	x.(*alarm).index = len(*a)
	*a = append(*a, x.(*alarm))
}

// Pop is for package heap.
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = slices.Delete(*a, len(*a)-1, len(*a))
	return last
}

// send puts a message into the mailbox; false: ctx or the coordinator ended first.
func (c *Coordinator) send(ctx context.Context, s *shard, m any) bool {
	select {
	case s.mail <- m:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}
