package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/commitlog"
	"varve/internal/config"
	"varve/metadata"
)

type alteration struct {
	topic     string
	partition int32
	replicas  []int32 // nil cancels
}

// alterReassignments asks for changes, each with an entry of its own, and returns the outcomes in order.
func alterReassignments(p *peer, version int16, allowFactor bool, changes ...alteration) []kmsg.AlterPartitionAssignmentsResponseTopicPartition {
	p.t.Helper()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.AllowReplicationFactorChange = allowFactor
	for _, c := range changes {
		rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		rt.Topic, rp.Partition, rp.Replicas = c.topic, c.partition, c.replicas
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	resp := ask[*kmsg.AlterPartitionAssignmentsResponse](p, req, version)
	if resp.ErrorCode != 0 {
		p.t.Fatalf("the whole request: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	var out []kmsg.AlterPartitionAssignmentsResponseTopicPartition
	for i, rt := range resp.Topics {
		if rt.Topic != changes[i].topic || len(rt.Partitions) != 1 || rt.Partitions[0].Partition != changes[i].partition {
			p.t.Fatalf("answer %d: %+v", i, rt)
		}
		out = append(out, rt.Partitions[0])
	}
	return out
}

// reassignments lists what is under way, of one partition or, without a topic, of all.
func reassignments(p *peer, topic string, partitions ...int32) string {
	p.t.Helper()
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	if topic != "" {
		rt := kmsg.NewListPartitionReassignmentsRequestTopic()
		rt.Topic, rt.Partitions = topic, partitions
		req.Topics = append(req.Topics, rt)
	}
	resp := ask[*kmsg.ListPartitionReassignmentsResponse](p, req, 0)
	if resp.ErrorCode != 0 {
		p.t.Fatalf("list: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	out := ""
	for _, t := range resp.Topics {
		for _, at := range t.Partitions {
			out += fmt.Sprintf("%s-%d %v +%v -%v;", t.Topic, at.Partition, at.Replicas, at.AddingReplicas, at.RemovingReplicas)
		}
	}
	return out
}

// TestReassignmentErrors: what Kafka 4.3.1 answers, in its words.
func TestReassignmentErrors(t *testing.T) {
	c := startCluster(t, nil, 2, 3)
	p := dial(t, c.addr)
	create(p, false, assigned("flights", []int32{1, 2}, []int32{2, 1}))
	for _, test := range []struct {
		name    string
		change  alteration
		factor  bool
		want    error
		message string
	}{
		{"cancel none", alteration{"flights", 0, nil}, true, kerr.NoReassignmentInProgress, "No partition reassignment is in progress."},
		{"unknown topic", alteration{"nope", 0, nil}, true, kerr.UnknownTopicOrPartition, "Unable to find a topic named nope."},
		{"unknown partition", alteration{"flights", 9, []int32{1, 2}}, true, kerr.UnknownTopicOrPartition, "Unable to find partition flights:9."},
		{"negative partition", alteration{"flights", -1, []int32{1}}, true, kerr.UnknownTopicOrPartition, "Unable to find partition flights:-1."},
		{"empty", alteration{"flights", 0, []int32{}}, true, kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{"empty, factor fixed", alteration{"flights", 0, []int32{}}, false, kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{"twice", alteration{"flights", 0, []int32{1, 1}}, true, kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{"unregistered", alteration{"flights", 0, []int32{1, 9}}, true, kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{"negative", alteration{"flights", 0, []int32{1, -1}}, true, kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker -1, but no such broker is registered."},
		{"more", alteration{"flights", 0, []int32{1, 2, 3}}, false, kerr.InvalidReplicationFactor, "The replication factor is changed from 2 to 3"},
		{"fewer", alteration{"flights", 0, []int32{1}}, false, kerr.InvalidReplicationFactor, "The replication factor is changed from 2 to 1"},
		{"the same", alteration{"flights", 0, []int32{1, 2}}, false, nil, ""},
	} {
		got := alterReassignments(p, 1, test.factor, test.change)[0]
		checkCode(t, test.name, got.ErrorCode, test.want, got.ErrorMessage)
		if (got.ErrorMessage == nil) != (test.message == "") || got.ErrorMessage != nil && *got.ErrorMessage != test.message {
			t.Errorf("%s: %q", test.name, *got.ErrorMessage)
		}
	}
	if list := reassignments(p, ""); list != "" {
		t.Errorf("under way: %s", list)
	}
	got := alterReassignments(p, 0, false, alteration{"flights", 0, []int32{1, 2, 3}}, alteration{"nope", 0, nil}, alteration{"flights", 1, []int32{1, 2}})
	checkCode(t, "v0 lets the factor change", got[0].ErrorCode, nil, got[0].ErrorMessage)
	checkCode(t, "beside", got[1].ErrorCode, kerr.UnknownTopicOrPartition, got[1].ErrorMessage)
	checkCode(t, "another order", got[2].ErrorCode, nil, got[2].ErrorMessage)
}

// TestReassignmentOverTheWire: started, listed, seen in Metadata; another one cancelled. Partitions added meanwhile have as many replicas as
// the moving one will have.
func TestReassignmentOverTheWire(t *testing.T) {
	c := startCluster(t, nil, 2, 3)
	p := dial(t, c.addr)
	create(p, false, assigned("flights", []int32{1, 2}, []int32{2, 1}), assigned("wire", []int32{1}))
	alter := func(change alteration) {
		t.Helper()
		got := alterReassignments(p, 1, true, change)[0]
		checkCode(t, fmt.Sprint(change), got.ErrorCode, nil, got.ErrorMessage)
	}
	list := func(want string, topic string, partitions ...int32) {
		t.Helper()
		if got := reassignments(p, topic, partitions...); got != want {
			t.Errorf("listed %s, want %s", got, want)
		}
	}
	alter(alteration{"wire", 0, []int32{1, 3}})
	alter(alteration{"flights", 0, []int32{3, 1}})
	list("flights-0 [3 1 2] +[3] -[2];wire-0 [1 3] +[3] -[];", "")
	list("flights-0 [3 1 2] +[3] -[2];", "flights", 0, 1, 7, -1)
	list("", "flights", 1)
	list("", "nope", 0)
	shown := describeTopics(p, "flights")[0].Partitions[0]
	if got := fmt.Sprint(shown.Replicas, shown.ISR, shown.Leader); got != "[3 1 2] [1 2] 1" {
		t.Errorf("while it moves: %s", got)
	}
	alter(alteration{"wire", 0, nil})
	list("flights-0 [3 1 2] +[3] -[2];", "")
	grow := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = "flights", 3
	for _, replicas := range [][]int32{{1, 2, 3}, {2, 3}} {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = replicas
		rt.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{a}
		grow.Topics = []kmsg.CreatePartitionsRequestTopic{rt}
		grown := ask[*kmsg.CreatePartitionsResponse](p, grow, 3).Topics[0]
		if want := len(replicas) != 2; (grown.ErrorCode == kerr.InvalidReplicaAssignment.Code) != want {
			t.Errorf("a partition more on %v: %v", replicas, kerr.ErrorForCode(grown.ErrorCode))
		}
	}
}

// TestListOfNoTopics: an empty list of topics asks for none, null for all.
func TestListOfNoTopics(t *testing.T) {
	im := imageOf()
	im.ByName["wire"].Partitions[1].Adding = []metadata.BrokerID{1}
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }})
	p := dial(t, addr)
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	if got := ask[*kmsg.ListPartitionReassignmentsResponse](p, req, 0); len(got.Topics) != 1 || got.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("null: %+v", got.Topics)
	}
	req.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{}
	if got := ask[*kmsg.ListPartitionReassignmentsResponse](p, req, 0); len(got.Topics) != 0 {
		t.Errorf("empty: %+v", got.Topics)
	}
}

// TestThrottles: what kafka-reassign-partitions --throttle sets and --verify removes.
func TestThrottles(t *testing.T) {
	c := startCluster(t, nil)
	p := dial(t, c.addr)
	create(p, false, topicRequest("flights", 2, 1))
	for _, rate := range []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"} {
		if rate != "replica.alter.log.dirs.io.max.bytes.per.second" {
			checkCode(t, rate, alterConfigs(p, brokerResource, "1", configOp{rate, opSet, ptr("1000")}), nil, nil)
			checkCode(t, rate, alterConfigs(p, brokerResource, "1", configOp{rate, opSet, ptr("-1")}), kerr.InvalidConfig, nil)
		}
		checkCode(t, rate, alterConfigs(p, brokerResource, "1", configOp{rate, opDelete, nil}), nil, nil)
	}
	replicas := "leader.replication.throttled.replicas"
	checkCode(t, "replicas", alterConfigs(p, topicResource, "flights", configOp{replicas, opSet, ptr("0:1,1:1")}), nil, nil)
	checkCode(t, "no replicas", alterConfigs(p, topicResource, "flights", configOp{replicas, opSet, ptr("all")}), kerr.InvalidConfig, nil)
	checkCode(t, "remove", alterConfigs(p, topicResource, "flights", configOp{replicas, opDelete, nil}), nil, nil)
}

// fence registers a broker that is not heard of: it stays fenced.
func (c *cluster) fence(t *testing.T, id metadata.BrokerID) {
	t.Helper()
	_, err := c.store.Register(t.Context(), metadata.Registration{ID: id, Incarnation: uuid.New(), Host: "asleep.test", Port: 9000, Dirs: []metadata.DirID{uuid.New()}})
	if err == nil {
		err = c.refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFencedBrokersInAssignments: a fenced broker may have replicas, not all of them; words as Kafka's.
func TestFencedBrokersInAssignments(t *testing.T) {
	c := startCluster(t, nil, 2)
	c.fence(t, 3)
	p := dial(t, c.addr)
	got := create(p, false, assigned("none", []int32{1}, []int32{3}), assigned("one", []int32{3, 1}), topicRequest("all", 1, 3), topicRequest("more", 1, 4))
	checkCode(t, "a partition on fenced brokers only", got[0].ErrorCode, kerr.InvalidReplicaAssignment, got[0].ErrorMessage)
	if want := "All brokers specified in the manual partition assignment for partition 1 are fenced or in controlled shutdown."; *got[0].ErrorMessage != want {
		t.Errorf("%s", *got[0].ErrorMessage)
	}
	checkCode(t, "one fenced", got[1].ErrorCode, nil, got[1].ErrorMessage)
	checkCode(t, "placed on all", got[2].ErrorCode, nil, got[2].ErrorMessage)
	checkCode(t, "more than there are", got[3].ErrorCode, kerr.InvalidReplicationFactor, got[3].ErrorMessage)
	shown := describeTopics(p, "one", "all")
	if at := shown[0].Partitions[0]; fmt.Sprint(at.Leader, at.Replicas, at.ISR, at.OfflineReplicas) != "1 [3 1] [1] [3]" {
		t.Errorf("%+v", at)
	}
	if at := shown[1].Partitions[0]; at.Replicas[2] != 3 || len(at.ISR) != 2 {
		t.Errorf("%+v", at)
	}
	old := ask[*kmsg.MetadataResponse](p, metadataOf("one"), 0)
	at := old.Topics[0].Partitions[0]
	checkCode(t, "v0", at.ErrorCode, kerr.ReplicaNotAvailable, nil)
	if fmt.Sprint(at.Replicas, at.ISR, len(old.Brokers)) != "[1] [1] 2" {
		t.Errorf("v0 shows brokers that are not there: %+v", at)
	}
}

// TestOfflineDirectory: a replica whose directory its broker no longer has is offline, though the broker lives.
func TestOfflineDirectory(t *testing.T) {
	im := imageOf()
	here, gone := uuid.New(), uuid.New()
	im.Brokers[1].Dirs = []metadata.DirID{here}
	for i, dir := range []metadata.DirID{here, gone} {
		im.ByName["wire"].Partitions[i].Dirs = []metadata.DirID{dir}
	}
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }})
	p := dial(t, addr)
	for i, at := range describeTopics(p, "wire")[0].Partitions {
		if len(at.OfflineReplicas) != i {
			t.Errorf("partition %d: %+v", i, at)
		}
	}
}

// TestUpdateFeatures: what Kafka 4.3.1 answers, where Varve has the feature; nothing but the level it is at can be set.
func TestUpdateFeatures(t *testing.T) {
	_, addr := startServer(t, Config{})
	p := dial(t, addr)
	const prefix = "The update failed for all features since the following feature had an error: "
	for _, test := range []struct {
		feature string
		level   int16
		kind    int8
		want    string
	}{
		{"metadata.version", 30, 1, ""},
		{"metadata.version", 30, 2, ""},
		{"eligible.leader.replicas.version", 1, 1, ""},
		{"metadata.version", 31, 1, "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30"},
		{"metadata.version", 29, 1, "Invalid update version 29 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."},
		{"metadata.version", 29, 2, "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because it might delete metadata information."},
		{"metadata.version", 20, 3, "Unsupported metadata.version downgrade from 30 to 20. Unsafe metadata downgrade is not supported in this version."},
		{"metadata.version", 30, 9, "Invalid update version 30 for feature metadata.version. The controller does not support the given upgrade type."},
		{"metadata.version", 30, 0, "Invalid update version 30 for feature metadata.version. The controller does not support the given upgrade type."},
		{"metadata.version", -1, 1, "Invalid update version -1 for feature metadata.version. A feature version cannot be less than 0."},
		{"no.such", 1, 1, "Invalid update version 1 for feature no.such. Local controller 1 does not support this feature."},
		{"no.such", 0, 2, "Invalid update version 0 for feature no.such. Feature no.such not found."},
	} {
		for version := int16(1); version <= 2; version++ {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			for _, update := range []struct {
				name  string
				level int16
				kind  int8
			}{{"metadata.version", 30, 1}, {test.feature, test.level, test.kind}} {
				u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
				u.Feature, u.MaxVersionLevel, u.UpgradeType = update.name, update.level, update.kind
				req.FeatureUpdates = append(req.FeatureUpdates, u)
			}
			resp := ask[*kmsg.UpdateFeaturesResponse](p, req, version)
			if test.want == "" {
				if resp.ErrorCode != 0 || version == 1 && len(resp.Results) != 2 {
					t.Errorf("%+v: %+v", test, resp)
				}
				continue
			}
			checkCode(t, fmt.Sprint(test), resp.ErrorCode, kerr.InvalidUpdateVersion, resp.ErrorMessage)
			if resp.ErrorMessage == nil || *resp.ErrorMessage != prefix+test.want {
				t.Errorf("%+v: %v", test, *resp.ErrorMessage)
			}
		}
	}
	old := kmsg.NewPtrUpdateFeaturesRequest()
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel = "metadata.version", 30
	old.FeatureUpdates = append(old.FeatureUpdates, u)
	if resp := ask[*kmsg.UpdateFeaturesResponse](p, old, 0); resp.ErrorCode != 0 || len(resp.Results) != 1 {
		t.Errorf("v0: %+v", resp)
	}
}

// TestFeaturesAreShown: what is finalized is supported too, at no level below 1.
func TestFeaturesAreShown(t *testing.T) {
	_, addr := startServer(t, Config{})
	resp := ask[*kmsg.ApiVersionsResponse](dial(t, addr), named(), 4)
	supported := map[string]kmsg.ApiVersionsResponseSupportedFeature{}
	for _, f := range resp.SupportedFeatures {
		supported[f.Name] = f
	}
	for _, f := range resp.FinalizedFeatures {
		if s := supported[f.Name]; s.MinVersion < 1 || f.MaxVersionLevel < s.MinVersion || f.MaxVersionLevel > s.MaxVersion {
			t.Errorf("%s at %d, supported from %d to %d", f.Name, f.MaxVersionLevel, s.MinVersion, s.MaxVersion)
		}
	}
	if len(resp.FinalizedFeatures) != 3 || resp.FinalizedFeaturesEpoch < 0 {
		t.Errorf("%+v", resp.FinalizedFeatures)
	}
}

// TestDescribeClusterOfThree: all live brokers, fenced ones on request, and the controller that holds the lease.
func TestDescribeClusterOfThree(t *testing.T) {
	c := startCluster(t, nil, 2)
	c.fence(t, 3)
	if _, ok, err := c.store.AcquireController(t.Context(), 2, time.Hour); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := dial(t, c.addr)
	for version := int16(0); version <= 2; version++ {
		for _, fenced := range []bool{false, true} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.IncludeFencedBrokers = fenced
			resp := ask[*kmsg.DescribeClusterResponse](p, req, version)
			want := 2
			if fenced && version >= 2 {
				want = 3
			}
			if len(resp.Brokers) != want || resp.ControllerID != 2 {
				t.Errorf("v%d: controller %d of %+v", version, resp.ControllerID, resp.Brokers)
			}
			for _, b := range resp.Brokers {
				if b.IsFenced != (b.NodeID == 3) {
					t.Errorf("v%d: %+v", version, b)
				}
			}
		}
	}
	if md := ask[*kmsg.MetadataResponse](p, metadataOf(), 13); md.ControllerID != 2 || len(md.Brokers) != 2 {
		t.Errorf("Metadata: controller %d of %+v", md.ControllerID, md.Brokers)
	}
}

// TestAlterReplicaLogDirs: a replica that is in the directory asked for is fine; to another one Varve does not move it.
func TestAlterReplicaLogDirs(t *testing.T) {
	var dirs []*commitlog.Dir
	for range 2 {
		d, err := commitlog.OpenDir(t.TempDir(), commitlog.DirOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		dirs = append(dirs, d)
	}
	out := t.TempDir()
	b := newBroker(t, map[string]string{"log.dirs": dirs[0].Path() + "," + dirs[1].Path() + "," + out})
	im := imageOf()
	addTopic(im, "other", 1, 2).Partitions[0].Replicas[0] = 2
	wire := im.ByName["wire"].Partitions
	wire[0].Dirs[0] = dirs[0].ID()
	_, addr := startServer(t, Config{Image: func() *metadata.Image { return im }, Broker: func() *config.Broker { return b }, Dirs: dirs})
	p := dial(t, addr)
	for _, test := range []struct {
		dir       string
		topic     string
		partition int32
		want      error
	}{
		{dirs[0].Path(), "wire", 0, nil},
		{dirs[1].Path(), "wire", 0, kerr.UnsupportedVersion},
		{dirs[0].Path(), "wire", 1, kerr.ReplicaNotAvailable},
		{dirs[0].Path(), "other", 0, kerr.ReplicaNotAvailable},
		{dirs[0].Path(), "wire", 9, kerr.UnknownTopicOrPartition},
		{dirs[0].Path(), "nope", 0, kerr.UnknownTopicOrPartition},
		{out, "wire", 0, kerr.KafkaStorageError},
		{"/nowhere", "nope", 0, kerr.LogDirNotFound},
	} {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		rt := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
		rt.Topic, rt.Partitions = test.topic, []int32{test.partition}
		d.Dir, d.Topics = test.dir, []kmsg.AlterReplicaLogDirsRequestDirTopic{rt}
		req.Dirs = append(req.Dirs, d)
		for version := int16(1); version <= 2; version++ {
			resp := ask[*kmsg.AlterReplicaLogDirsResponse](p, req, version)
			checkCode(t, fmt.Sprint(test), resp.Topics[0].Partitions[0].ErrorCode, test.want, nil)
		}
	}
}
