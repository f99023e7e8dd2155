package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// clusterSize is the number of brokers of a cluster.
const clusterSize = 3

// A node is one broker of a cluster. Its id is its place in the cluster plus one.
type node struct {
	*broker // nil while it does not run
	addr    string
	dir     string
	start   func() (*broker, error) // in its directory, on its port
}

// A cluster is three brokers of one system.
type cluster struct {
	nodes    []*node
	pgURL    string             // Postgres of Varve's, empty for Kafka
	quorum   bool               // who the controller is, DescribeQuorum says (KRaft's Metadata names any broker)
	services func() error       // ends what the brokers need
	configs  map[string]*string // of every topic of a run
}

// a clusterSystem starts clusters of one kind in an empty directory.
type clusterSystem func(dir string) (*cluster, error)

// clusterSystems are the systems of the measures with three brokers. Tiering is off but where a measure turns it on.
func clusterSystems(varve, kafka string) map[string]clusterSystem {
	return map[string]clusterSystem{
		"varve":       func(dir string) (*cluster, error) { return startVarveCluster(varve, dir, "fsync") },
		"varve-async": func(dir string) (*cluster, error) { return startVarveCluster(varve, dir, "async") },
		"kafka":       func(dir string) (*cluster, error) { return startKafkaCluster(kafka, dir, nil) },
		"kafka-syncing": func(dir string) (*cluster, error) {
			return startKafkaCluster(kafka, dir, map[string]*string{"flush.messages": text("1")})
		},
	}
}

// run starts a node that does not run.
func (n *node) run() error {
	b, err := n.start()
	if err != nil {
		return fmt.Errorf("broker in %s: %w", n.dir, err)
	}
	n.broker = b
	return nil
}

// runAll starts nodes at the same time: a quorum answers only when most of it runs.
func runAll(nodes []*node) error {
	var g errgroup.Group
	for _, n := range nodes {
		g.Go(n.run)
	}
	return g.Wait()
}

// complete returns the cluster when all brokers know each other, and ends it when err or that says otherwise.
func (c *cluster) complete(err error) (*cluster, error) {
	if err == nil {
		err = c.await(time.Minute, func(_ *node, cl *client) error {
			md, err := cl.metadata()
			if err == nil && len(md.Brokers) != clusterSize {
				err = fmt.Errorf("knows %d brokers", len(md.Brokers))
			}
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// down ends a node by how, which is its broker's stop or kill.
func (n *node) down(how func() error) error {
	n.broker = nil
	return how()
}

// end kills every broker, whose data nobody needs any more, and ends the services.
func (c *cluster) end() error {
	var errs []error
	for _, n := range c.nodes {
		if n.broker != nil {
			errs = append(errs, n.down(n.kill))
		}
	}
	return errors.Join(append(errs, c.services())...)
}

// pids are the process ids of the brokers that run.
func (c *cluster) pids() (pids []int) {
	for _, n := range c.nodes {
		if n.broker != nil {
			pids = append(pids, n.pid)
		}
	}
	return pids
}

// victim returns the broker to be hurt: the controller, or the first that is not.
func (c *cluster) victim(controller bool) (int, error) {
	id, err := c.controller()
	if err != nil {
		return 0, err
	}
	for i := range c.nodes {
		if (int32(i+1) == id) == controller {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no broker of the cluster is the controller: it is %d", id)
}

// controller returns the id of the active controller.
func (c *cluster) controller() (int32, error) {
	cl, err := dial(c.nodes[0].addr)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	if !c.quorum {
		md, err := cl.metadata()
		if err != nil {
			return 0, err
		}
		return md.ControllerID, nil
	}
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := cl.call(req)
	if err != nil {
		return 0, err
	}
	quorum := resp.(*kmsg.DescribeQuorumResponse)
	if err := kerr.ErrorForCode(quorum.ErrorCode); err != nil || len(quorum.Topics) == 0 {
		return 0, fmt.Errorf("DescribeQuorum: no answer: %w", err)
	}
	return quorum.Topics[0].Partitions[0].LeaderID, nil
}

// freePorts returns ports of 127.0.0.1 that nobody listens on, nor on the ones after them (a Kafka's controller takes that). They
// lie below those that the system gives to outgoing connections, for a broker comes back on its own; two benches at once begin at different ones.
func freePorts(count int) ([]int, error) {
	const low, high = 20_000, 32_000
	var ports []int
	for try := 0; len(ports) < count; try++ {
		if try > (high-low)/2 {
			return nil, errors.New("no free ports")
		}
		if p := low + 2*(7*os.Getpid()+try)%(high-low); free(p) && free(p+1) {
			ports = append(ports, p)
		}
	}
	return ports, nil
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
