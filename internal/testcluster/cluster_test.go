package testcluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"varve/internal/testpg"
)

func TestMain(m *testing.M) { Main(testpg.Main(m)) }

// echo serves lines back until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// ask sends a line and returns whether it comes back within the time.
func ask(c net.Conn, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestProxyCuts: refused connections end at once, silent ones go on after Heal, and other processes' connections are not touched.
func TestProxyCuts(t *testing.T) {
	p := StartProxy(t, echo(t))
	c := dial(t, p.Addr())
	if err := ask(c, time.Second); err != nil {
		t.Fatal(err)
	}
	p.Cut(Silent)
	if err := ask(c, 200*time.Millisecond); err == nil {
		t.Fatal("an answer came through a silent proxy")
	}
	p.Heal()
	if err := ask(c, 5*time.Second); err != nil {
		t.Fatalf("after Heal: %v", err)
	}
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	p.Cut(Refused, other.Process.Pid)
	if err := ask(c, 5*time.Second); err != nil {
		t.Fatalf("another process was cut: %v", err)
	}
	p.Cut(Refused, os.Getpid())
	if err := ask(c, 5*time.Second); err == nil {
		t.Fatal("an answer came through a connection that was cut")
	}
	if err := ask(dial(t, p.Addr()), 5*time.Second); err == nil {
		t.Fatal("an answer came through a new connection that was cut")
	}
	p.Heal()
	if err := ask(dial(t, p.Addr()), 5*time.Second); err != nil {
		t.Fatal(err)
	}
}
