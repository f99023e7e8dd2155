//go:build e2e

package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"varve/internal/testcluster"
	"varve/internal/testpg"
)

func TestMain(m *testing.M) { testcluster.Main(testpg.Main(m)) }

// wait bounds what should take a moment.
const wait = 60 * time.Second

// connect makes a client of a cluster that follows its leaders quickly.
func connect(t *testing.T, bootstrap string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DialTimeout(2 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}
