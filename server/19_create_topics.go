package server

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/internal/config"
	"varve/metadata"
)

var _ = register(api{key: kmsg.CreateTopics, min: 2, max: 7, handle: handleCreateTopics})

const (
	// maxTopicPartitions bounds the partitions that one request may make, as Kafka's controller does.
	maxTopicPartitions = 10_000
	// adminTimeout bounds a change of the metadata; a client may ask for less.
	adminTimeout = 30 * time.Second
)

var errExcessive = refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")

// TopicStore changes topics, each call one transaction. Index i of a result belongs to item i; failures of items are *kerr.Error values.
type TopicStore interface {
	CreateTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool) ([]metadata.CreatedTopic, error)
	DeleteTopics(ctx context.Context, topics []metadata.TopicRef) ([]error, error)
	AddPartitions(ctx context.Context, topic string, added [][]metadata.BrokerID, from int, validateOnly bool) error
}

func handleCreateTopics(ctx context.Context, s *Server, r *request) reply {
	req := r.Request.(*kmsg.CreateTopicsRequest)
	resp := kmsg.NewPtrCreateTopicsResponse()
	p := newTopicPlan(s.cfg.Image(), s.cfg.Broker(), req.Topics)
	for _, t := range req.Topics {
		if at, ok := p.add(t); ok {
			at.Topic = t.Topic
			resp.Topics = append(resp.Topics, at)
		}
	}
	outcomes := s.createTopics(ctx, p.topics, req.ValidateOnly, req.TimeoutMillis)
	done := 0
	for i := range resp.Topics {
		t := &resp.Topics[i]
		err := p.failed[t.Topic]
		if err == nil {
			created := outcomes[done]
			plan := p.topics[done]
			done++
			if err = created.Err; err == nil {
				p.describe(t, created.ID, plan, s.cfg.Self)
			}
		}
		t.ErrorCode, t.ErrorMessage = s.code(err), explain(err)
	}
	return answer(resp)
}

// createTopics runs the transaction and reloads the image, so that whoever asks this broker next sees the topics. The outcome of topic i
// is at index i; when the transaction as a whole failed it is the same error for all.
func (s *Server) createTopics(ctx context.Context, topics []metadata.NewTopic, validateOnly bool, timeoutMillis int32) []metadata.CreatedTopic {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := adminContext(ctx, timeoutMillis)
	defer cancel()
	outcomes, err := s.cfg.Store.CreateTopics(ctx, topics, validateOnly)
	if err != nil {
		outcomes = make([]metadata.CreatedTopic, len(topics))
		for i := range outcomes {
			outcomes[i].Err = err
		}
		return outcomes
	}
	if !validateOnly {
		s.refresh(ctx)
	}
	return outcomes
}

// refresh loads the image after a change, so that this broker's next answer shows it. When that fails the image follows by itself.
func (s *Server) refresh(ctx context.Context) {
	if s.cfg.Refresh == nil {
		return
	}
	if err := s.cfg.Refresh(ctx); err != nil {
		s.log.Warn("metadata not refreshed after a change", "error", err)
	}
}

// adminContext bounds an admin request by the client's timeout.
func adminContext(ctx context.Context, timeoutMillis int32) (context.Context, context.CancelFunc) {
	timeout := time.Duration(timeoutMillis) * time.Millisecond
	if timeout <= 0 || timeout > adminTimeout {
		timeout = adminTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// autoCreate makes topics that a Metadata request asked for. Failures are left for the client to see when it asks again.
func (s *Server) autoCreate(ctx context.Context, im *metadata.Image, names []string) {
	p := newTopicPlan(im, s.cfg.Broker(), nil)
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		p.add(t)
	}
	for i, o := range s.createTopics(ctx, p.topics, false, 0) {
		if o.Err != nil {
			s.log.Warn("topic not created automatically", "topic", p.topics[i].Name, "error", o.Err)
		}
	}
	for name, err := range p.failed {
		s.log.Warn("topic not created automatically", "topic", name, "error", err)
	}
}

// A topicPlan checks topics to create against the image and places their partitions.
type topicPlan struct {
	image      *metadata.Image
	broker     *config.Broker
	duplicates map[string]bool // names that the request has more than once; false: reported already
	metric     map[string]string
	excessive  bool // more topics than one request may make
	partitions int
	topics     []metadata.NewTopic // those without a failure, in the order of the request
	failed     map[string]error
}

func newTopicPlan(im *metadata.Image, b *config.Broker, topics []kmsg.CreateTopicsRequestTopic) *topicPlan {
	p := &topicPlan{image: im, broker: b, duplicates: map[string]bool{}, failed: map[string]error{},
		metric: make(map[string]string, len(im.ByName)), excessive: len(topics) > maxTopicPartitions}
	for name := range im.ByName {
		p.metric[metricName(name)] = name
	}
	seen := make(map[string]bool, len(topics))
	for _, t := range topics {
		if seen[t.Topic] {
			p.duplicates[t.Topic] = true
		}
		seen[t.Topic] = true
	}
	return p
}

// add plans one topic and returns its place in the response; ok false: it has one already.
func (p *topicPlan) add(t kmsg.CreateTopicsRequestTopic) (at kmsg.CreateTopicsResponseTopic, ok bool) {
	at = kmsg.NewCreateTopicsResponseTopic()
	at.NumPartitions, at.ReplicationFactor = -1, -1
	at.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	if first, twice := p.duplicates[t.Topic]; twice {
		p.failed[t.Topic] = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		p.duplicates[t.Topic] = false
		return at, first
	}
	planned, err := p.plan(t)
	if err != nil {
		p.failed[t.Topic] = err
		return at, true
	}
	p.topics = append(p.topics, planned)
	return at, true
}

// plan checks one topic in Kafka's order: name, configuration, assignment or counts.
func (p *topicPlan) plan(t kmsg.CreateTopicsRequestTopic) (n metadata.NewTopic, err error) {
	if p.excessive {
		return n, errExcessive
	}
	if err := checkNewTopicName(p.image, p.metric, t.Topic); err != nil {
		return n, err
	}
	n.Name, n.Configs = t.Topic, make(map[string]string, len(t.Configs))
	for _, c := range t.Configs {
		if c.Value == nil {
			return n, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", c.Name)
		}
		n.Configs[c.Name] = *c.Value
	}
	if err := config.CheckTopic(n.Configs); err != nil {
		return n, refuse(kerr.InvalidConfig, "%s", err)
	}
	if len(t.ReplicaAssignment) > 0 {
		n.Assignment, err = p.manual(t)
	} else {
		n.Assignment, err = p.place(t)
	}
	if err != nil {
		return n, err
	}
	if p.partitions += len(n.Assignment); p.partitions > maxTopicPartitions {
		return n, errExcessive
	}
	return n, nil
}

// place lets the placement rule choose the replicas.
func (p *topicPlan) place(t kmsg.CreateTopicsRequestTopic) ([][]metadata.BrokerID, error) {
	partitions, replicas := t.NumPartitions, int32(t.ReplicationFactor)
	if partitions == -1 {
		partitions = max(p.broker.NumPartitions, 1)
	}
	if replicas == -1 {
		replicas = max(p.broker.DefaultReplicationFactor, 1)
	}
	switch {
	case replicas <= 0:
		return nil, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case partitions <= 0:
		return nil, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case partitions > maxTopicPartitions:
		return nil, errExcessive
	case int(replicas) > len(p.image.Brokers):
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication factor of %d "+
			"cannot be reached because only %d broker(s) are registered.", replicas, replicas, len(p.image.Brokers))
	}
	return placeReplicas(p.image, t.Topic, 0, int(partitions), int(replicas))
}

// placeReplicas places partitions [from, from+partitions). The name of the topic chooses where partition 0 begins, so that partitions added
// later go on where the first ones ended.
func placeReplicas(im *metadata.Image, topic string, from, partitions, replicas int) ([][]metadata.BrokerID, error) {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return metadata.Place(im.Brokers, from, partitions, replicas, int(h.Sum32()>>1))
}

// manual takes the assignment that the client gave.
func (p *topicPlan) manual(t kmsg.CreateTopicsRequestTopic) ([][]metadata.BrokerID, error) {
	switch {
	case t.ReplicationFactor != -1:
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case t.NumPartitions != -1:
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	assignment := make([][]metadata.BrokerID, len(t.ReplicaAssignment))
	for _, a := range t.ReplicaAssignment {
		if a.Partition < 0 || int(a.Partition) >= len(assignment) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		if assignment[a.Partition] != nil {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		replicas, err := checkReplicas(p.image, int(a.Partition), a.Replicas)
		if err != nil {
			return nil, err
		}
		assignment[a.Partition] = replicas
	}
	return assignment, sameFactor(assignment, len(assignment[0]))
}

// checkReplicas checks the manual replica list of one partition: not empty, registered brokers, each once, at least one of them alive.
func checkReplicas(im *metadata.Image, partition int, ids []int32) ([]metadata.BrokerID, error) {
	if len(ids) == 0 {
		return nil, refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	replicas := make([]metadata.BrokerID, 0, len(ids))
	alive := false
	for _, n := range ids {
		id := metadata.BrokerID(n)
		if im.Brokers[id] == nil {
			return nil, refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", n)
		}
		if slices.Contains(replicas, id) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", n)
		}
		replicas = append(replicas, id)
		alive = alive || im.Live(id)
	}
	if !alive {
		return nil, refuse(kerr.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return replicas, nil
}

// sameFactor refuses replica lists of different lengths.
func sameFactor(assignment [][]metadata.BrokerID, factor int) error {
	for _, replicas := range assignment {
		if len(replicas) != factor {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not "+
				"consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
		}
	}
	return nil
}

// describe fills in what was created.
func (p *topicPlan) describe(t *kmsg.CreateTopicsResponseTopic, id metadata.TopicID, n metadata.NewTopic, self metadata.BrokerID) {
	t.TopicID = id
	t.NumPartitions, t.ReplicationFactor = int32(len(n.Assignment)), int16(len(n.Assignment[0]))
	for _, v := range topicConfigs(p.broker, p.image, self, n.Configs) {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source, c.ReadOnly, c.IsSensitive = v.def.Name, v.wireValue(), int8(v.source()), false, v.sensitive()
		t.Configs = append(t.Configs, c)
	}
}
