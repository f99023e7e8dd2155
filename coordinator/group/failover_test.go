package group

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/testpg"
	"varve/metadata"
)

var failoverSeed = flag.Uint64("failover-seed", 0, "seed of TestFailover; 0: by the clock")

// TestFailover moves the shards between two coordinators while members join, commit, leave, crash and take over static
// places. Each coordinator learns of a move late, and the members ask the wrong one now and then. Checked: a partition
// has one owner per generation; committed offsets never decrease; every acknowledged commit is there. When nobody comes
// or goes, moves cost nobody its place: the generations stay.
func TestFailover(t *testing.T) {
	seed := *failoverSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-failover-seed=%d", seed)
	h := newHouse(t, testpg.URL(t))
	f := &failover{t: t, house: h, random: rand.New(rand.NewPCG(seed, 1)), owners: map[string]string{}, acked: map[string]int64{}, seen: map[string]int64{}}
	f.epochs[1] = f.enter(2)
	f.epochs[0] = f.enter(1) // a new process: the epoch of the one before is not known here
	im := h.assign(t)
	for i := range f.coordinators {
		f.coordinators[i] = h.start(t, metadata.BrokerID(i+1), nil)
		f.coordinators[i].Apply(im)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var work sync.WaitGroup
	for i, group := range []string{"alpha", "beta", "gamma"} {
		for j := range 3 {
			p := &player{f: f, group: group, random: rand.New(rand.NewPCG(seed, uint64(10*i+j+2)))}
			if j == 0 {
				p.instance = new(group + "-static")
			}
			f.players = append(f.players, p)
			work.Go(func() { p.run(ctx) })
		}
	}
	work.Go(func() { f.watch(ctx) })
	for range 15 {
		f.move(ctx)
	}
	f.quiet.Store(true)
	eventually(t, "all members to be in one generation", f.settled)
	before, acks := f.generations(), f.acks.Load()
	for range 5 {
		f.move(ctx)
	}
	eventually(t, "commits after the last move", func() bool { return f.acks.Load() > acks+20 })
	if after := f.generations(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("moves changed the generations from %v to %v", before, after)
	}
	stop()
	work.Wait()
	f.check(t.Context())
	t.Logf("%d generations, %d acknowledged commits, %d joins", len(f.owners)/3, f.acks.Load(), f.joins.Load())
}

type failover struct {
	t            *testing.T
	house        *house
	random       *rand.Rand // of the mover
	epochs       [2]metadata.BrokerEpoch
	coordinators [2]*Coordinator
	players      []*player
	victim       int
	quiet        atomic.Bool // nobody comes or goes any more
	acks, joins  atomic.Int64

	mu     sync.Mutex
	owners map[string]string // group, generation and partition → member, or static place
	acked  map[string]int64  // group and partition → highest acknowledged
	seen   map[string]int64  // the same → highest read from Postgres
}

func (f *failover) enter(id metadata.BrokerID) metadata.BrokerEpoch {
	f.t.Helper()
	if id == 1 {
		f.house.lapse(f.t, 1)
	}
	epoch, err := f.house.store.Register(f.t.Context(), metadata.Registration{ID: id, Incarnation: uuid.New(), Host: "broker.test", Port: 9092,
		Dirs: []metadata.DirID{uuid.New()}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.beat(id, epoch, time.Hour)
	return epoch
}

func (f *failover) beat(id metadata.BrokerID, epoch metadata.BrokerEpoch, ttl time.Duration) {
	f.t.Helper()
	if _, err := f.house.store.Heartbeat(f.t.Context(), id, epoch, 1<<40, ttl); err != nil {
		f.t.Fatal(err)
	}
}

// move fences one of the brokers, so that the other gets all shards, and tells both of it, each in its time.
func (f *failover) move(ctx context.Context) {
	other := 1 - f.victim
	f.beat(metadata.BrokerID(other+1), f.epochs[other], time.Hour)
	f.house.assign(f.t)
	f.beat(metadata.BrokerID(f.victim+1), f.epochs[f.victim], time.Microsecond)
	im := f.house.assign(f.t)
	f.victim = other
	for _, i := range f.random.Perm(2) {
		rest(ctx, time.Duration(f.random.IntN(300))*time.Millisecond)
		f.coordinators[i].Apply(im)
	}
	rest(ctx, time.Duration(100+f.random.IntN(400))*time.Millisecond)
}

// watch reads what is committed, over and over.
func (f *failover) watch(ctx context.Context) {
	for ctx.Err() == nil {
		f.check(ctx)
		rest(ctx, 5*time.Millisecond)
	}
}

func (f *failover) check(ctx context.Context) {
	for _, group := range []string{"alpha", "beta", "gamma"} {
		f.mu.Lock()
		floor := map[string]int64{}
		for i := range 3 {
			k := key(group, int32(i))
			floor[k] = max(f.acked[k], f.seen[k])
		}
		f.mu.Unlock()
		offsets, err := f.house.store.FetchOffsets(ctx, group, nil)
		if err != nil {
			if ctx.Err() == nil {
				f.t.Error(err)
			}
			return
		}
		now := map[string]int64{}
		for _, o := range offsets {
			now[key(group, o.Partition)] = o.Offset
		}
		f.mu.Lock()
		for k, v := range floor {
			if now[k] < v {
				f.t.Errorf("%s is at %d after %d", k, now[k], v)
			}
			f.seen[k] = max(f.seen[k], now[k])
		}
		f.mu.Unlock()
	}
}

// own notes the owner of partitions in a generation.
func (f *failover) own(group string, generation int32, member string, partitions []int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range partitions {
		k := fmt.Sprintf("%s in generation %d", key(group, p), generation)
		if o, ok := f.owners[k]; ok && o != member {
			f.t.Errorf("%s belongs to %s and %s", k, o, member)
		}
		f.owners[k] = member
	}
}

func (f *failover) acknowledged(group string, partition int32, offset int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks.Add(1)
	k := key(group, partition)
	f.acked[k] = max(f.acked[k], offset)
}

func (f *failover) generations() map[string]int32 {
	out := map[string]int32{}
	for i, p := range f.players {
		out[p.group+strconv.Itoa(i)] = p.generation.Load()
	}
	return out
}

// settled reports whether the members of each group are in one generation.
func (f *failover) settled() bool {
	of := map[string]int32{}
	for _, p := range f.players {
		g := p.generation.Load()
		if known, ok := of[p.group]; g <= 0 || ok && known != g {
			return false
		}
		of[p.group] = g
	}
	return true
}

func key(group string, partition int32) string { return group + "-" + strconv.Itoa(int(partition)) }

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lapse ends a broker's session whose epoch only Postgres knows: the controller may fence it.
func (h *house) lapse(t *testing.T, id metadata.BrokerID) {
	t.Helper()
	if _, err := h.store.Heartbeat(t.Context(), id, h.image.Load().Brokers[id].Epoch, 1<<40, time.Microsecond); err != nil {
		t.Fatal(err)
	}
}

// player is a client of one group, as consumers are: it joins, commits more and more for what it owns, and starts anew
// when it is told to.
type player struct {
	f          *failover
	group      string
	instance   *string
	random     *rand.Rand
	id         string
	generation atomic.Int32 // while it works; else 0
}

func (p *player) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.generation.Store(0)
		generation, partitions, ok := p.enter(ctx)
		if !ok {
			rest(ctx, time.Duration(p.random.IntN(20))*time.Millisecond)
			continue
		}
		p.work(ctx, generation, partitions)
	}
}

// coordinator is mostly the one that the image names.
func (p *player) coordinator() *Coordinator {
	i := p.random.IntN(2)
	if p.random.IntN(3) > 0 {
		i = int(p.f.house.image.Load().GroupShards[p.f.coordinators[0].shardOf(p.group).index].Owner) - 1
	}
	return p.f.coordinators[i]
}

// enter joins and syncs.
func (p *player) enter(ctx context.Context) (generation int32, partitions []int32, ok bool) {
	p.f.joins.Add(1)
	r := joinRequest(p.group, p.id)
	r.InstanceID, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = p.instance, 4000, 300
	a := p.coordinator().JoinGroup(ctx, r, "player", "/h")
	switch a.ErrorCode {
	case 0, kerr.MemberIDRequired.Code:
		p.id = a.MemberID
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code:
		p.id = ""
	}
	if a.ErrorCode != 0 {
		return 0, nil, false
	}
	s := syncRequest(p.group, p.id, a.Generation)
	s.InstanceID = p.instance
	if a.LeaderID == p.id && !a.SkipAssignment {
		shares := make([][]string, len(a.Members))
		for i := range 3 {
			shares[i%len(shares)] = append(shares[i%len(shares)], strconv.Itoa(i))
		}
		for i, m := range a.Members {
			s.GroupAssignment = append(s.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: []byte(strings.Join(shares[i], ","))})
		}
	}
	for ctx.Err() == nil {
		b := p.coordinator().SyncGroup(ctx, s)
		switch b.ErrorCode {
		case 0:
			for n := range strings.SplitSeq(string(b.MemberAssignment), ",") {
				if i, err := strconv.Atoi(n); err == nil {
					partitions = append(partitions, int32(i))
				}
			}
			name := p.id
			if p.instance != nil { // whose place its next process takes over within the generation
				name = *p.instance
			}
			p.f.own(p.group, a.Generation, name, partitions)
			return a.Generation, partitions, true
		case kerr.NotCoordinator.Code, kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code:
			rest(ctx, 5*time.Millisecond)
		case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code:
			p.id = ""
			return 0, nil, false
		default:
			return 0, nil, false
		}
	}
	return 0, nil, false
}

// committed reads where to go on.
func (p *player) committed(ctx context.Context) (next [3]int64, ok bool) {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version, r.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: p.group, MemberEpoch: -1}}
	a := p.coordinator().OffsetFetch(ctx, r).Groups[0]
	for _, t := range a.Topics {
		for _, x := range t.Partitions {
			next[x.Partition] = x.Offset
		}
	}
	return next, a.ErrorCode == 0
}

// work commits and heartbeats until the generation is over, or the player goes: with or without saying so.
func (p *player) work(ctx context.Context, generation int32, partitions []int32) {
	next, ok := p.committed(ctx)
	for !ok && ctx.Err() == nil {
		rest(ctx, 5*time.Millisecond)
		next, ok = p.committed(ctx)
	}
	p.generation.Store(generation)
	for ctx.Err() == nil {
		rest(ctx, time.Duration(p.random.IntN(10))*time.Millisecond)
		if !p.f.quiet.Load() && p.random.IntN(60) == 0 {
			p.depart(ctx)
			return
		}
		var code int16
		if len(partitions) == 0 || p.random.IntN(4) == 0 {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Version, r.Group, r.MemberID, r.InstanceID, r.Generation = 4, p.group, p.id, p.instance, generation
			code = p.coordinator().Heartbeat(ctx, r).ErrorCode
		} else {
			partition := partitions[p.random.IntN(len(partitions))]
			next[partition]++
			r := commitRequest(p.group, p.id, generation, partition, next[partition])
			r.InstanceID = p.instance
			if code = commitCode(p.coordinator().OffsetCommit(ctx, r)); code == 0 {
				p.f.acknowledged(p.group, partition, next[partition])
			}
		}
		switch {
		case slices.Contains([]int16{0, kerr.NotCoordinator.Code, kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code}, code):
			continue
		case code == kerr.UnknownMemberID.Code, code == kerr.FencedInstanceID.Code:
			p.id = ""
		}
		return
	}
}

func (p *player) depart(ctx context.Context) {
	if p.instance == nil && p.random.IntN(3) > 0 {
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version, r.Group, r.MemberID = 2, p.group, p.id
		p.coordinator().LeaveGroup(ctx, r)
	}
	p.id = ""
}
