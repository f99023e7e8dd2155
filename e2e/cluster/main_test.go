//go:build e2e

package cluster

import (
	"testing"
	"time"

	"varve/internal/testcluster"
	"varve/internal/testpg"
)

func TestMain(m *testing.M) { testcluster.Main(testpg.Main(m)) }

// wait bounds what should take a moment.
const wait = 60 * time.Second
