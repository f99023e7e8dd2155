package pgserver

import (
	"os"
	"os/exec"
	"runtime"
)

// spawn starts cmd and waits for its end on a goroutine of its own, bound to one OS thread from fork to wait: Linux
// sends the parent death signal when the *thread* that forked ends. exitErr is set before exited is closed.
func spawn(cmd *exec.Cmd, exitErr *error) (process *os.Process, exited chan struct{}, err error) {
	exited = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		*exitErr = cmd.Wait()
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return cmd.Process, exited, nil
}
