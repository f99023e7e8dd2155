package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"varve/metadata"
)

// A clusterState is what `varve cluster status` judges: an image and what else is known of its moment.
type clusterState struct {
	image *metadata.Image
	// minISR is min.insync.replicas of a topic with these overrides.
	minISR func(overrides map[string]string) int
	// sessions are when the brokers' sessions end or ended; a broker without one is not known.
	sessions map[metadata.BrokerID]time.Time
	// controllerLive reports whether the controller holds its lease.
	controllerLive bool
}

// Conditions of a broker.
const (
	brokerLive     = "live"
	brokerFenced   = "fenced"
	brokerStopping = "shutting down"
	brokerStopped  = "stopped"
)

// Conditions of a partition that is not healthy, the worst first.
const (
	leaderless      = "leaderless"
	underMinISR     = "under min ISR"
	underReplicated = "under-replicated"
)

// A brokerStatus is one broker in a report.
type brokerStatus struct {
	ID       metadata.BrokerID `json:"id"`
	Address  string            `json:"address"`
	Rack     string            `json:"rack,omitempty"`
	State    string            `json:"state"`
	Since    *time.Time        `json:"since,omitempty"` // of a state other than live: when its session ended
	Leads    int               `json:"leads"`
	Replicas int               `json:"replicas"`
}

// A finding is one partition that is not as it should be, and why.
type finding struct {
	Topic     string              `json:"topic"`
	Partition int32               `json:"partition"`
	State     string              `json:"state"`
	Leader    metadata.BrokerID   `json:"leader"`
	Replicas  []metadata.BrokerID `json:"replicas"`
	ISR       []metadata.BrokerID `json:"isr"`
	MinISR    int                 `json:"minIsr"`
	Why       []string            `json:"why"`
}

// A clusterReport is the judgement. Under-replicated and under-min-ISR count leaderless partitions, too, as Kafka's tools do.
type clusterReport struct {
	ClusterID        string            `json:"clusterId"`
	Version          int64             `json:"metadataVersion"` // -1: not known
	Controller       metadata.BrokerID `json:"controller"`      // -1: none holds the lease
	Brokers          []brokerStatus    `json:"brokers"`
	PartitionCount   int               `json:"partitions"`
	Leaderless       int               `json:"leaderless"`
	UnderMinISR      int               `json:"underMinIsr"`
	UnderReplicated  int               `json:"underReplicated"`
	Reassigning      int               `json:"reassigning"`
	Healthy          bool              `json:"healthy"`
	Findings         []finding         `json:"findings"`
	ControllerReason string            `json:"controllerReason,omitempty"` // why there is none
}

// judge makes the report of a state.
func judge(s clusterState) clusterReport {
	im := s.image
	r := clusterReport{ClusterID: im.ClusterID.String(), Version: im.Version, Controller: im.Controller, Findings: []finding{}}
	if im.Controller == metadata.NoBroker || !s.controllerLive {
		r.Controller, r.ControllerReason = metadata.NoBroker, "no broker holds the controller lease: a live broker takes it within seconds, if it reaches Postgres"
	}
	brokers := map[metadata.BrokerID]*brokerStatus{}
	for id, b := range im.Brokers {
		brokers[id] = s.describeBroker(b)
	}
	for _, t := range im.Topics {
		need := s.minISR(t.Configs)
		for _, p := range t.Partitions {
			r.PartitionCount++
			if len(p.Adding)+len(p.Removing) > 0 {
				r.Reassigning++
			}
			if b := brokers[p.Leader]; b != nil {
				b.Leads++
			}
			for _, id := range p.Replicas {
				if b := brokers[id]; b != nil {
					b.Replicas++
				}
			}
			r.add(s, t.Name, p, min(need, settledReplicas(p)))
		}
	}
	for _, b := range brokers {
		r.Brokers = append(r.Brokers, *b)
	}
	slices.SortFunc(r.Brokers, func(a, b brokerStatus) int { return cmp.Compare(a.ID, b.ID) })
	rank := map[string]int{leaderless: 0, underMinISR: 1, underReplicated: 2}
	slices.SortFunc(r.Findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	r.Healthy = len(r.Findings) == 0 && r.Controller != metadata.NoBroker
	return r
}

// settledReplicas is how many replicas p has apart from those that a reassignment is adding.
func settledReplicas(p *metadata.Partition) int { return len(p.Replicas) - len(p.Adding) }

// add counts one partition, and enters it when something is wrong with it.
func (r *clusterReport) add(s clusterState, topic string, p *metadata.Partition, need int) {
	f := finding{Topic: topic, Partition: p.TopicPartition.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR, MinISR: need}
	settled := 0
	for _, id := range p.ISR {
		if !slices.Contains(p.Adding, id) {
			settled++
		}
	}
	if settled < settledReplicas(p) {
		r.UnderReplicated++
		f.State = underReplicated
	}
	if len(p.ISR) < need {
		r.UnderMinISR++
		f.State = underMinISR
	}
	if p.Leader == metadata.NoBroker {
		r.Leaderless++
		f.State = leaderless
	}
	switch f.State {
	case "":
		return
	case leaderless:
		f.Why = s.whyLeaderless(p)
	default:
		f.Why = s.whyMissing(p)
	}
	r.Findings = append(r.Findings, f)
}

func (s clusterState) describeBroker(b *metadata.Broker) *brokerStatus {
	st := &brokerStatus{ID: b.ID, Address: fmt.Sprintf("%s:%d", b.Host, b.Port), Rack: b.Rack, State: brokerLive}
	switch {
	case b.Fenced && b.InShutdown:
		st.State = brokerStopped
	case b.Fenced:
		st.State = brokerFenced
	case b.InShutdown:
		st.State = brokerStopping
	}
	if since, ok := s.sessions[b.ID]; ok && st.State != brokerLive {
		st.Since = &since
	}
	return st
}

// whyLeaderless says what keeps each broker that could lead p from it, and what can be done.
func (s clusterState) whyLeaderless(p *metadata.Partition) []string {
	var why []string
	for _, id := range slices.Concat(p.ISR, p.ELR) {
		reason := s.whyReplica(p, id)
		if reason == "" {
			return []string{fmt.Sprintf("broker %d can lead and is about to be elected; if it stays so, %s", id, "see the controller's log")}
		}
		why = append(why, reason)
	}
	in := fmt.Sprintf("ISR %v", p.ISR)
	if len(p.ELR) > 0 {
		in += fmt.Sprintf(", eligible %v", p.ELR)
	}
	return append(why, fmt.Sprintf("no in-sync replica is live: %s; if none comes back, elect uncleanly with "+
		"kafka-leader-election --election-type unclean to rebuild from the bucket", in))
}

// whyMissing says why each replica outside of the ISR is not in it.
func (s clusterState) whyMissing(p *metadata.Partition) []string {
	var why []string
	if p.Recovery == metadata.Recovering {
		why = append(why, fmt.Sprintf("broker %d rebuilds the partition from the bucket after an unclean election", p.Leader))
	}
	for _, id := range p.Replicas {
		if slices.Contains(p.ISR, id) {
			continue
		}
		reason := s.whyReplica(p, id)
		if reason == "" {
			reason = fmt.Sprintf("broker %d is live and not in sync: it is catching up with broker %d, or cannot reach it (see its log)", id, p.Leader)
		}
		why = append(why, reason)
	}
	if len(why) == 0 {
		why = []string{fmt.Sprintf("the topic has %d replicas, and min.insync.replicas asks for more in sync", len(p.Replicas))}
	}
	return why
}

// whyReplica says what keeps broker id from serving its replica of p; empty: nothing that the metadata shows.
func (s clusterState) whyReplica(p *metadata.Partition, id metadata.BrokerID) string {
	b := s.image.Brokers[id]
	if b == nil {
		return fmt.Sprintf("broker %d is not registered: start it", id)
	}
	since := ""
	if at, ok := s.sessions[id]; ok {
		since = " since " + at.UTC().Format(time.RFC3339)
	}
	i := slices.Index(p.Replicas, id)
	switch {
	case b.Fenced && b.InShutdown:
		return fmt.Sprintf("broker %d is stopped%s: start it", id, since)
	case b.Fenced:
		return fmt.Sprintf("broker %d is fenced%s: start it", id, since)
	case b.InShutdown:
		return fmt.Sprintf("broker %d is shutting down", id)
	case i >= 0 && i < len(p.Dirs) && !metadata.Electable(p, i, s.image.Brokers):
		return fmt.Sprintf("log directory %s of broker %d is not online: repair its disk and restart the broker, or let it come back with an empty one", p.Dirs[i], id)
	}
	return ""
}
