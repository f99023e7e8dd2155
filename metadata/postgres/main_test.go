package postgres_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"varve/internal/testpg"
	"varve/metadata"
	"varve/metadata/postgres"
)

// No goroutine of a Store, a Publisher or a Node outlives its Close or Run.
func TestMain(m *testing.M) { goleak.VerifyTestMain(testpg.Main(m)) }

// open returns a Store on a database of its own.
func open(t *testing.T) *postgres.Store {
	t.Helper()
	return openURL(t, testpg.URL(t))
}

func openURL(t *testing.T, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type ids = []metadata.BrokerID

// broker is a registered broker of a test.
type broker struct {
	metadata.Registration
	epoch metadata.BrokerEpoch
}

func newBroker(id metadata.BrokerID) *broker {
	return &broker{Registration: metadata.Registration{
		ID: id, Incarnation: uuid.New(), Host: "localhost", Port: 9092, Dirs: []metadata.DirID{uuid.New()},
	}}
}

// join registers and unfences b.
func (b *broker) join(t *testing.T, s *postgres.Store) *broker {
	t.Helper()
	epoch, err := s.Register(t.Context(), b.Registration)
	if err != nil {
		t.Fatal(err)
	}
	b.epoch = epoch
	b.beat(t, s, time.Minute)
	return b
}

func (b *broker) beat(t *testing.T, s *postgres.Store, ttl time.Duration) {
	t.Helper()
	fenced, err := s.Heartbeat(t.Context(), b.ID, b.epoch, int64(b.epoch), ttl)
	if err != nil || fenced {
		t.Fatalf("heartbeat: fenced %v, %v", fenced, err)
	}
}

// topic creates a topic with one partition per list of replicas.
func topic(t *testing.T, s *postgres.Store, name string, assignment ...[]metadata.BrokerID) metadata.TopicID {
	t.Helper()
	out, err := s.CreateTopics(t.Context(), []metadata.NewTopic{{Name: name, Assignment: assignment}}, false)
	if err != nil || out[0].Err != nil {
		t.Fatal(err, out)
	}
	return out[0].ID
}

func snapshot(t *testing.T, s *postgres.Store) *metadata.Image {
	t.Helper()
	im, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// assignDir records one directory.
func assignDir(t *testing.T, s *postgres.Store, tp metadata.TopicPartition, self metadata.BrokerID, dir metadata.DirID) error {
	t.Helper()
	errs, err := s.AssignDirs(t.Context(), self, []metadata.DirAssignment{{TopicPartition: tp, Dir: dir}})
	if err != nil {
		return err
	}
	return errs[0]
}
