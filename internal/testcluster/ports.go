package testcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports below those that the kernel takes for outgoing connections (from 32768): nobody gets the port of a broker that is down.
const (
	lowPort  = 20_000
	highPort = 32_000
)

// freeAddress is an address on the loopback interface that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	var last error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowPort+rand.IntN(highPort-lowPort))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal(last)
	return ""
}
