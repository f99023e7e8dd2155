package group

import (
	"testing"

	"go.uber.org/goleak"

	"varve/internal/testpg"
)

// No goroutine outlives Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(testpg.Main(m)) }
