package tiering_test

import (
	"testing"

	"go.uber.org/goleak"

	"varve/internal/testpg"
)

// No goroutine of a Manager or a Reader outlives its Run or Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(testpg.Main(m)) }
