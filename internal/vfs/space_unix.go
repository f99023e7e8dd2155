//go:build unix

package vfs

import "golang.org/x/sys/unix"

// Space is the size of the volume of path and what is left of it for us, in bytes: -1 when unknown.
func Space(path string) (total, usable int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return -1, -1
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize)
}
