package testminio

import "syscall"

// dieWithParent ends the server when the test's process does, however it ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
