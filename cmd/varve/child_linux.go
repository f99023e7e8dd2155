package main

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the brokers of a development cluster: the parent stops them, before Postgres. They stop,
// too, when the parent ends without doing so.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
