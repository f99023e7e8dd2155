//go:build !linux

package pgserver

import (
	"errors"
	"os"
	"syscall"
)

// asUnprivileged returns how to run a program of Postgres: as ourselves.
func asUnprivileged(string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() == 0 {
		return nil, errors.New("Postgres refuses to run as root: run as an ordinary user")
	}
	return &syscall.SysProcAttr{}, nil
}

// dieWithParent does nothing here; stopOrphan covers it at the next start.
func dieWithParent(*syscall.SysProcAttr) {}
