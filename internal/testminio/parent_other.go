//go:build !linux

package testminio

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
