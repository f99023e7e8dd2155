package group

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/coordinator"
	"varve/metadata"
)

// Config of a Coordinator. Self, Store and Image are required; the rest has Kafka's defaults, which a zero means,
// except for InitialRebalanceDelay, where zero is zero.
type Config struct {
	Self                  metadata.BrokerID
	Store                 Store
	Image                 func() *metadata.Image // never nil
	MinSession            time.Duration          // group.min.session.timeout.ms, 6 s
	MaxSession            time.Duration          // group.max.session.timeout.ms, 30 min
	InitialRebalanceDelay time.Duration          // group.initial.rebalance.delay.ms (Kafka: 3 s)
	MaxSize               int                    // group.max.size, unlimited
	ClassicOnly           bool                   // group.coordinator.rebalance.protocols is without "consumer"
	ConsumerSession       time.Duration          // group.consumer.session.timeout.ms, 45 s
	ConsumerInterval      time.Duration          // group.consumer.heartbeat.interval.ms, 5 s
	ConsumerMaxSize       int                    // group.consumer.max.size, unlimited
	ConsumerAssignors     []string               // group.consumer.assignors, uniform and range
	OffsetMetadataMax     int                    // offset.metadata.max.bytes, 4096
	CommitTimeout         time.Duration          // offsets.commit.timeout.ms, 5 s
	// OffsetsRetention (offsets.retention.minutes, 7 days) is how long an empty group is kept with its offsets;
	// RetentionCheckInterval (offsets.retention.check.interval.ms, 10 min) is how often that is looked at.
	OffsetsRetention       time.Duration
	RetentionCheckInterval time.Duration
	Logger                 *slog.Logger          // may be nil
	Registerer             prometheus.Registerer // may be nil
}

// Coordinator owns the shards that the image assigns to this broker. Its request methods take and return kmsg types,
// may block until the answer is known or ctx ends, and are safe for concurrent use. What they keep of a request they
// copy: its bytes may be a frame that is reused.
type Coordinator struct {
	cfg           Config
	rules         rules
	consumerRules consumerRules
	log           *slog.Logger
	metrics       *metrics
	clock         clock
	tickets       atomic.Int64

	shards [metadata.GroupShards]*shard
	owned  [metadata.GroupShards]atomic.Pointer[metadata.Shard] // as the last image says
	topics atomic.Pointer[metadata.Image]                       // the last one whose topics were not those of the one before

	ctx     context.Context // of all work; ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	probes  chan struct{}
	flushes chan struct{} // a place for each transaction of offset commits; whoever holds one lets it go within offsets.commit.timeout.ms
}

// New starts a coordinator that owns nothing until Apply. Close it.
func New(cfg Config) *Coordinator {
	cfg.MinSession = cmp.Or(cfg.MinSession, 6*time.Second)
	cfg.MaxSession = cmp.Or(cfg.MaxSession, 30*time.Minute)
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 1<<31-1)
	cfg.ConsumerSession = cmp.Or(cfg.ConsumerSession, 45*time.Second)
	cfg.ConsumerInterval = cmp.Or(cfg.ConsumerInterval, 5*time.Second)
	cfg.ConsumerMaxSize = cmp.Or(cfg.ConsumerMaxSize, 1<<31-1)
	if len(cfg.ConsumerAssignors) == 0 {
		cfg.ConsumerAssignors = []string{"uniform", "range"}
	}
	cfg.OffsetMetadataMax = cmp.Or(cfg.OffsetMetadataMax, 4096)
	cfg.CommitTimeout = cmp.Or(cfg.CommitTimeout, 5*time.Second)
	cfg.OffsetsRetention = cmp.Or(cfg.OffsetsRetention, 7*24*time.Hour)
	cfg.RetentionCheckInterval = cmp.Or(cfg.RetentionCheckInterval, 10*time.Minute)
	c := &Coordinator{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), probes: make(chan struct{}, 1), flushes: make(chan struct{}, maxFlushes),
		consumerRules: consumerRules{session: cfg.ConsumerSession, interval: cfg.ConsumerInterval, maxSize: cfg.ConsumerMaxSize, assignors: cfg.ConsumerAssignors},
		rules:         rules{minSession: cfg.MinSession, maxSession: cfg.MaxSession, initialDelay: cfg.InitialRebalanceDelay, maxSize: cfg.MaxSize}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for i := range c.shards {
		c.shards[i] = newShard(c, int32(i))
		c.work.Go(c.shards[i].run)
	}
	c.work.Go(c.watch)
	c.work.Go(c.expire)
	return c
}

// Close answers whoever waits with COORDINATOR_NOT_AVAILABLE and returns when all goroutines have ended. Stop the
// server first.
func (c *Coordinator) Close() {
	c.cancel()
	c.work.Wait()
}

// Apply tells the shards who owns them. It does not block; the publisher calls it with each image.
func (c *Coordinator) Apply(im *metadata.Image) {
	if topicsDiffer(c.topics.Load(), im) {
		c.topics.Store(im)
		defer func() {
			for _, s := range c.shards {
				s.wake()
			}
		}()
	}
	for i := range min(len(im.GroupShards), len(c.shards)) {
		next := im.GroupShards[i]
		if now := c.owned[i].Load(); now == nil || now.Epoch < next.Epoch {
			c.owned[i].Store(&next)
			c.shards[i].wake()
		}
	}
}

// JoinGroup answers when the join phase that the member takes part in is over.
func (c *Coordinator) JoinGroup(ctx context.Context, req *kmsg.JoinGroupRequest, clientID, clientHost string) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation, resp.MemberID = -1, req.MemberID
	if req.Version < 7 {
		resp.Protocol = new("") // not nullable before
	}
	e := joinEvent{memberID: req.MemberID, instanceID: req.InstanceID, clientID: clientID, clientHost: clientHost,
		session:      time.Duration(req.SessionTimeoutMillis) * time.Millisecond,
		rebalance:    time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		protocolType: req.ProtocolType, needsKnownID: req.Version >= 4, skipsAssignment: req.Version >= 9}
	if req.Version < 1 {
		e.rebalance = e.session // older consumers have one time-out for both
	}
	name := clientID
	if req.InstanceID != nil {
		name = *req.InstanceID
	}
	e.newID = name + "-" + uuid.NewString()
	for _, p := range req.Protocols {
		e.protocols = append(e.protocols, protocol{p.Name, bytes.Clone(p.Metadata)})
	}
	err := checkGroupID(req.Group)
	if err == nil {
		err = c.rules.checkSession(e.session)
	}
	if err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	e.from = c.ticket()
	a, err := ask[joined](ctx, c, request{group: req.Group, event: e, from: e.from})
	if err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	resp.ErrorCode, resp.Generation, resp.MemberID = codeOf(a.err), a.generation, a.memberID
	resp.LeaderID, resp.SkipAssignment, resp.ProtocolType = a.leader, a.skipAssignment, a.protocolType
	if a.protocol != nil {
		resp.Protocol = a.protocol
	}
	for _, m := range a.members {
		rm := kmsg.NewJoinGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ProtocolMetadata = m.memberID, m.instanceID, m.metadata
		resp.Members = append(resp.Members, rm)
	}
	return resp
}

// SyncGroup answers when the leader's assignment is persisted.
func (c *Coordinator) SyncGroup(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) { // mandatory, before anything else is looked at
		resp.ErrorCode = kerr.InconsistentGroupProtocol.Code
		return resp
	}
	e := syncEvent{from: c.ticket(), memberID: req.MemberID, instanceID: req.InstanceID, generation: req.Generation,
		protocolType: req.ProtocolType, protocol: req.Protocol, assignments: map[string][]byte{}}
	for _, a := range req.GroupAssignment {
		e.assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	a, err := askNamed[synced](ctx, c, request{group: req.Group, event: e, from: e.from})
	if err == nil {
		err = a.err
	}
	resp.ErrorCode, resp.ProtocolType, resp.Protocol, resp.MemberAssignment = codeOf(err), a.protocolType, a.protocol, a.assignment
	return resp
}

// Heartbeat keeps a member's session. While the shard is being loaded the answer is "go on", as Kafka's.
func (c *Coordinator) Heartbeat(ctx context.Context, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := kmsg.NewPtrHeartbeatResponse()
	e := heartbeatEvent{from: c.ticket(), memberID: req.MemberID, instanceID: req.InstanceID, generation: req.Generation}
	_, err := askNamed[*kerr.Error](ctx, c, request{group: req.Group, event: e, from: e.from})
	if err != kerr.CoordinatorLoadInProgress {
		resp.ErrorCode = codeOf(err)
	}
	return resp
}

// LeaveGroup removes members; before v3 the one member of the request.
func (c *Coordinator) LeaveGroup(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := kmsg.NewPtrLeaveGroupResponse()
	members := req.Members
	if req.Version < 3 {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = req.MemberID
		members = []kmsg.LeaveGroupRequestMember{m}
	}
	e := leaveEvent{from: c.ticket()}
	for _, m := range members {
		e.members = append(e.members, memberRef{m.MemberID, m.InstanceID})
	}
	a, err := askNamed[left](ctx, c, request{group: req.Group, event: e, from: e.from})
	switch {
	case err == kerr.UnknownMemberID: // no such group: nobody is in it
		err, a.members = nil, make([]*kerr.Error, len(members))
		for i := range a.members {
			a.members[i] = kerr.UnknownMemberID
		}
	case err == nil:
		err = a.err
	}
	resp.ErrorCode = codeOf(err)
	for i, result := range a.members {
		if req.Version < 3 {
			resp.ErrorCode = codeOf(result)
			break
		}
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ErrorCode = members[i].MemberID, members[i].InstanceID, codeOf(result)
		resp.Members = append(resp.Members, rm)
	}
	return resp
}

func checkGroupID(group string) *kerr.Error {
	if group == "" {
		return kerr.InvalidGroupID
	}
	return nil
}

func (c *Coordinator) ticket() ticket { return ticket(c.tickets.Add(1)) }

func (c *Coordinator) shardOf(group string) *shard { return c.shards[coordinator.ShardOf(group)] }

// askNamed is ask for the requests that no group with an empty id may make.
func askNamed[T any](ctx context.Context, c *Coordinator, r request) (T, *kerr.Error) {
	if err := checkGroupID(r.group); err != nil {
		var none T
		return none, err
	}
	return ask[T](ctx, c, r)
}

// ask sends a request to its group's shard and waits for the answer. An answer that is nothing but an error is returned
// as such.
func ask[T any](ctx context.Context, c *Coordinator, r request) (T, *kerr.Error) {
	r.answer = make(chan any, 1)
	return await[T](ctx, c, c.shardOf(r.group), r, r.answer)
}

// inspect reads the machines of a shard.
func inspect[T any](ctx context.Context, c *Coordinator, s *shard, read func(map[string]anyGroup) T) (T, *kerr.Error) {
	answer := make(chan any, 1)
	return await[T](ctx, c, s, inspection{func(m map[string]anyGroup) any { return read(m) }, answer}, answer)
}

func await[T any](ctx context.Context, c *Coordinator, s *shard, message any, answer <-chan any) (T, *kerr.Error) {
	var none T
	if !c.send(ctx, s, message) {
		return none, kerr.CoordinatorNotAvailable
	}
	select {
	case a := <-answer:
		if err, ok := a.(*kerr.Error); ok {
			return none, err
		}
		return a.(T), nil
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return none, kerr.CoordinatorNotAvailable
}

func codeOf(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}

// code is the Kafka error of a failure of the store.
func (c *Coordinator) code(err error) *kerr.Error {
	var k *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &k):
		return k
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kerr.CoordinatorNotAvailable
	}
	c.log.Error("group store failed", "err", err)
	return kerr.UnknownServerError
}

// observed tells the clock how the store answered.
func (c *Coordinator) observed(err error) error {
	if c.ctx.Err() == nil {
		c.clock.observe(err)
		if unavailable(err) {
			c.probe()
		}
	}
	return err
}

// probe has the store asked whether it is there; see watch.
func (c *Coordinator) probe() {
	select {
	case c.probes <- struct{}{}:
	default:
	}
}

// watch asks the store until it answers, when that is in doubt, and then lets the shards look at their deadlines.
func (c *Coordinator) watch() {
	for {
		select {
		case <-c.probes:
		case <-c.ctx.Done():
			return
		}
		for c.ctx.Err() == nil {
			_, err := c.cfg.Store.FetchOffsets(c.ctx, "", []metadata.TopicPartition{})
			c.clock.observe(err)
			if !unavailable(err) {
				break
			}
			c.pause(retryPause)
		}
		for _, s := range c.shards {
			s.wake()
		}
	}
}

// pause waits, unless the coordinator ends.
func (c *Coordinator) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.ctx.Done():
	}
}
