package testcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ownsConnection reports whether one of the processes has the loopback connection from one port to another. It reads Linux's /proc.
func ownsConnection(pids []int, from, to int) bool {
	inode := connectionInode(from, to)
	if inode == "" {
		return false // ended, or not ours to see
	}
	want := "socket:[" + inode + "]"
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // only a bad pattern fails
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && target == want {
				return true
			}
		}
	}
	return false
}

// connectionInode finds the socket of the connection's beginning in /proc/net/tcp: "sl: local remote st … inode".
func connectionInode(from, to int) string {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	local, remote := fmt.Sprintf("0100007F:%04X", from), fmt.Sprintf("0100007F:%04X", to)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == local && f[2] == remote {
			return f[9]
		}
	}
	return ""
}
