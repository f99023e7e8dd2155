package server

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// cluster is a server over a real Postgres in which brokers 1 (this one) and others are registered and live.
type cluster struct {
	store *postgres.Store
	image atomic.Pointer[metadata.Image]
	addr  string
}

func startCluster(t *testing.T, set map[string]string, brokers ...metadata.BrokerID) *cluster {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: testpg.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	c := &cluster{store: store}
	if _, err := store.ClusterID(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range append([]metadata.BrokerID{1}, brokers...) {
		epoch, err := store.Register(t.Context(), metadata.Registration{ID: id, Incarnation: uuid.New(), Host: "broker.test", Port: 9000 + int32(id),
			Dirs: []metadata.DirID{uuid.New()}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Heartbeat(t.Context(), id, epoch, 1<<40, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	c.refresh(t.Context())
	static := newBroker(t, set)
	_, c.addr = startServer(t, Config{
		Broker: func() *config.Broker {
			im := c.image.Load()
			return static.WithDynamic(im.BrokerConfigs[metadata.NoBroker], im.BrokerConfigs[1])
		},
		Image: c.image.Load, Refresh: c.refresh, Store: store,
	})
	return c
}

func (c *cluster) refresh(ctx context.Context) error {
	im, err := c.store.Snapshot(ctx)
	if err == nil {
		c.image.Store(im)
	}
	return err
}

// topicRequest is one topic for CreateTopics, with configs as name=value.
func topicRequest(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for _, c := range configs {
		name, value, _ := strings.Cut(c, "=")
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = name, &value
		t.Configs = append(t.Configs, rc)
	}
	return t
}

func assigned(name string, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := topicRequest(name, -1, -1)
	for p, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(p), r
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func create(p *peer, validateOnly bool, topics ...kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopic {
	p.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis, req.ValidateOnly = topics, 5000, validateOnly
	return ask[*kmsg.CreateTopicsResponse](p, req, 7).Topics
}

// checkCode compares an error code with an error, nil for none.
func checkCode(t *testing.T, what string, got int16, want error, message *string) {
	t.Helper()
	if kerr.ErrorForCode(got) != want {
		text := ""
		if message != nil {
			text = *message
		}
		t.Errorf("%s: %v (%s), want %v", what, kerr.ErrorForCode(got), text, want)
	}
}

// TestCreateTopicsErrors: what Kafka 4.3.1 answers, case for case; decisions 26 for the reserved names.
func TestCreateTopicsErrors(t *testing.T) {
	c := startCluster(t, nil)
	p := dial(t, c.addr)
	for _, made := range create(p, false, topicRequest("taken", 1, 1), topicRequest("col.li_sion", 1, 1)) {
		checkCode(t, made.Topic, made.ErrorCode, nil, made.ErrorMessage)
	}
	gap := assigned("x", []int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 2
	both := assigned("x", []int32{1})
	both.ReplicationFactor = 1
	null := topicRequest("x", 1, 1, "retention.ms=1")
	null.Configs[0].Value = nil
	for _, test := range []struct {
		name  string
		topic kmsg.CreateTopicsRequestTopic
		want  error
	}{
		{"exists", topicRequest("taken", 1, 1), kerr.TopicAlreadyExists},
		{"blank in the name", topicRequest("no good!", 1, 1), kerr.InvalidTopicException},
		{"NUL in the name", topicRequest("a\x00b", 1, 1), kerr.InvalidTopicException},
		{"name of no UTF-8", topicRequest("a\xffb", 1, 1), kerr.InvalidTopicException},
		{"dots", topicRequest("..", 1, 1), kerr.InvalidTopicException},
		{"path", topicRequest("../../etc", 1, 1), kerr.InvalidTopicException},
		{"empty name", topicRequest("", 1, 1), kerr.InvalidTopicException},
		{"250 characters", topicRequest(strings.Repeat("a", 250), 1, 1), kerr.InvalidTopicException},
		{"collision", topicRequest("col_li.sion", 1, 1), kerr.InvalidTopicException},
		{"reserved", topicRequest("__consumer_offsets", 1, 1), kerr.InvalidTopicException},
		{"too many replicas", topicRequest("x", 1, 3), kerr.InvalidReplicationFactor},
		{"no replicas", topicRequest("x", 1, 0), kerr.InvalidReplicationFactor},
		{"no partitions", topicRequest("x", 0, 1), kerr.InvalidPartitions},
		{"minus two partitions", topicRequest("x", -2, 1), kerr.InvalidPartitions},
		{"too many partitions", topicRequest("x", 1<<30, 1), kerr.PolicyViolation},
		{"no number", topicRequest("x", 1, 1, "retention.ms=soon"), kerr.InvalidConfig},
		{"unknown config", topicRequest("x", 1, 1, "no.such.config=1"), kerr.InvalidConfig},
		{"small segment", topicRequest("x", 1, 1, "segment.bytes=1000"), kerr.InvalidConfig},
		{"min isr of 0", topicRequest("x", 1, 1, "min.insync.replicas=0"), kerr.InvalidConfig},
		{"null config", null, kerr.InvalidConfig},
		{"gap in the assignment", gap, kerr.InvalidReplicaAssignment},
		{"unknown broker", assigned("x", []int32{9}), kerr.InvalidReplicaAssignment},
		{"broker twice", assigned("x", []int32{1, 1}), kerr.InvalidReplicaAssignment},
		{"no broker", assigned("x", []int32{}), kerr.InvalidReplicaAssignment},
		{"assignment and count", both, kerr.InvalidRequest},
	} {
		got := create(p, false, test.topic)
		if len(got) != 1 {
			t.Fatalf("%s: %d answers", test.name, len(got))
		}
		checkCode(t, test.name, got[0].ErrorCode, test.want, got[0].ErrorMessage)
		if got[0].NumPartitions != -1 || got[0].TopicID != uuid.Nil {
			t.Errorf("%s: a failed topic has %d partitions and id %x", test.name, got[0].NumPartitions, got[0].TopicID)
		}
	}
	twice := create(p, false, topicRequest("x", 1, 1), topicRequest("y", 1, 1), topicRequest("x", 2, 1))
	if len(twice) != 2 || twice[0].Topic != "x" || twice[1].Topic != "y" {
		t.Fatalf("one name twice: %+v", twice)
	}
	checkCode(t, "one name twice", twice[0].ErrorCode, kerr.InvalidRequest, twice[0].ErrorMessage)
	checkCode(t, "the other topic of that request", twice[1].ErrorCode, nil, twice[1].ErrorMessage)
	if im := c.image.Load(); im.ByName["x"] != nil || im.ByName["y"] == nil {
		t.Error("a refused topic was made, or a good one was not")
	}
}

// TestLifeOfATopic: made, seen at once, grown, deleted, gone at once; with validate_only nothing happens.
func TestLifeOfATopic(t *testing.T) {
	c := startCluster(t, map[string]string{"num.partitions": "3"}, 2, 3)
	p := dial(t, c.addr)
	for _, dry := range create(p, true, topicRequest("orders", 2, 2)) {
		checkCode(t, "validate only", dry.ErrorCode, nil, dry.ErrorMessage)
	}
	if c.image.Load().ByName["orders"] != nil {
		t.Fatal("validate_only made a topic")
	}
	made := create(p, false, topicRequest("orders", -1, 2, "retention.ms=60000"))[0]
	checkCode(t, "create", made.ErrorCode, nil, made.ErrorMessage)
	if made.NumPartitions != 3 || made.ReplicationFactor != 2 || made.TopicID == uuid.Nil {
		t.Errorf("made %+v", made)
	}
	shown := describeTopics(p, "orders")[0]
	if len(shown.Partitions) != 3 || shown.TopicID != made.TopicID || shown.Partitions[2].ErrorCode != 0 || len(shown.Partitions[0].Replicas) != 2 {
		t.Fatalf("metadata: %+v", shown)
	}

	grow := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = "orders", 5
	grow.Topics, grow.TimeoutMillis = []kmsg.CreatePartitionsRequestTopic{rt}, 5000
	grown := ask[*kmsg.CreatePartitionsResponse](p, grow, 3).Topics[0]
	checkCode(t, "grow", grown.ErrorCode, nil, grown.ErrorMessage)
	for count, want := range map[int32]error{5: kerr.InvalidPartitions, 0: kerr.InvalidPartitions, 1 << 30: kerr.PolicyViolation} {
		grow.Topics[0].Count = count
		again := ask[*kmsg.CreatePartitionsResponse](p, grow, 3).Topics[0]
		checkCode(t, "grow", again.ErrorCode, want, again.ErrorMessage)
	}
	if got := len(describeTopics(p, "orders")[0].Partitions); got != 5 {
		t.Errorf("%d partitions", got)
	}

	name := "orders"
	del := kmsg.NewPtrDeleteTopicsRequest()
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = &name
	del.Topics, del.TimeoutMillis = []kmsg.DeleteTopicsRequestTopic{dt}, 5000
	gone := ask[*kmsg.DeleteTopicsResponse](p, del, 6).Topics[0]
	checkCode(t, "delete", gone.ErrorCode, nil, gone.ErrorMessage)
	if gone.TopicID != made.TopicID {
		t.Errorf("deleted %x, want %x", gone.TopicID, made.TopicID)
	}
	checkCode(t, "metadata after the deletion", describeTopics(p, "orders")[0].ErrorCode, kerr.UnknownTopicOrPartition, nil)
	again := ask[*kmsg.DeleteTopicsResponse](p, del, 6).Topics[0]
	checkCode(t, "delete again", again.ErrorCode, kerr.UnknownTopicOrPartition, again.ErrorMessage)
}

// TestAutoCreate: a topic that Metadata asks for is made when both sides allow it; the answer is Kafka's, the next one shows it.
func TestAutoCreate(t *testing.T) {
	c := startCluster(t, map[string]string{"auto.create.topics.enable": "true"})
	p := dial(t, c.addr)
	ask := func(allow bool, version int16, name string) int16 {
		req := metadataOf(name)
		req.AllowAutoTopicCreation = allow
		return ask[*kmsg.MetadataResponse](p, req, version).Topics[0].ErrorCode
	}
	checkCode(t, "not allowed", ask(false, 12, "events"), kerr.UnknownTopicOrPartition, nil)
	checkCode(t, "still not there", ask(false, 12, "events"), kerr.UnknownTopicOrPartition, nil)
	checkCode(t, "allowed", ask(true, 12, "events"), kerr.UnknownTopicOrPartition, nil)
	checkCode(t, "made", ask(true, 12, "events"), nil, nil)
	checkCode(t, "old client", ask(false, 1, "old"), kerr.UnknownTopicOrPartition, nil)
	checkCode(t, "old client again", ask(false, 1, "old"), nil, nil)
	checkCode(t, "invalid name", ask(true, 12, "no good!"), kerr.InvalidTopicException, nil)
}

func metadataOf(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &name
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func describeTopics(p *peer, names ...string) []kmsg.MetadataResponseTopic {
	p.t.Helper()
	return ask[*kmsg.MetadataResponse](p, metadataOf(names...), 13).Topics
}

// TestProducerIDs: every id is handed out once, over several blocks and connections.
func TestProducerIDs(t *testing.T) {
	c := startCluster(t, nil)
	seen := map[int64]bool{}
	for range 4 {
		p := dial(t, c.addr)
		for range 700 {
			resp := ask[*kmsg.InitProducerIDResponse](p, kmsg.NewPtrInitProducerIDRequest(), 4)
			if resp.ErrorCode != 0 || seen[resp.ProducerID] || resp.ProducerEpoch != 0 {
				t.Fatalf("id %d epoch %d again or %v", resp.ProducerID, resp.ProducerEpoch, kerr.ErrorForCode(resp.ErrorCode))
			}
			seen[resp.ProducerID] = true
		}
	}
	p := dial(t, c.addr)
	id := "tx"
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
	checkCode(t, "transactional id", ask[*kmsg.InitProducerIDResponse](p, req, 4).ErrorCode, kerr.TransactionalIDAuthorizationFailed, nil)
	req.TransactionTimeoutMillis = 0
	checkCode(t, "timeout of 0", ask[*kmsg.InitProducerIDResponse](p, req, 4).ErrorCode, kerr.InvalidTransactionTimeout, nil)
	req.ProducerID = 5
	checkCode(t, "id without epoch", ask[*kmsg.InitProducerIDResponse](p, req, 4).ErrorCode, kerr.InvalidRequest, nil)
}

// TestElectLeaders: a partition that is not led by its preferred replica is, after an election.
func TestElectLeaders(t *testing.T) {
	c := startCluster(t, nil, 2)
	p := dial(t, c.addr)
	create(p, false, assigned("pref", []int32{1, 2}, []int32{2, 1}))
	req := kmsg.NewPtrElectLeadersRequest()
	rt := kmsg.NewElectLeadersRequestTopic()
	rt.Topic, rt.Partitions = "pref", []int32{0, 7}
	req.Topics, req.TimeoutMillis = []kmsg.ElectLeadersRequestTopic{rt}, 5000
	resp := ask[*kmsg.ElectLeadersResponse](p, req, 2)
	parts := resp.Topics[0].Partitions
	checkCode(t, "led by the preferred one", parts[0].ErrorCode, kerr.ElectionNotNeeded, parts[0].ErrorMessage)
	checkCode(t, "no such partition", parts[1].ErrorCode, kerr.UnknownTopicOrPartition, parts[1].ErrorMessage)
	req.ElectionType = 9
	bad := ask[*kmsg.ElectLeadersResponse](p, req, 2)
	checkCode(t, "unknown type", bad.ErrorCode, kerr.InvalidRequest, nil)
	req.ElectionType, req.Topics = 0, nil
	if all := ask[*kmsg.ElectLeadersResponse](p, req, 2); len(all.Topics) != 0 || all.ErrorCode != 0 {
		t.Errorf("nothing to elect anywhere: %+v", all)
	}
}
