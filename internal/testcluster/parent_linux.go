package testcluster

import "syscall"

// dieWithParent ends the broker when the test's process does, however it ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
