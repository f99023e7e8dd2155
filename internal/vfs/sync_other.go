//go:build unix && !linux

package vfs

import "golang.org/x/sys/unix"

func fdatasync(fd int) error { return unix.Fsync(fd) }
func syncfs(int) error       { return unix.ENOSYS }
func dropCache(int) error    { return nil }

// Platforms other than Linux are for development: on some of them fsync leaves bytes in the drive.

// tryLock locks the open file.
func tryLock(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }

// SyncAllReports reports whether the kernel tells of failed writes in SyncAll: here SyncAll does not work at all.
func SyncAllReports() bool { return false }
