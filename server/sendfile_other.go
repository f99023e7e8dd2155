//go:build !linux

package server

import (
	"net"
	"os"
)

// sendFile sends [pos, pos+n) of f over conn.
func sendFile(conn net.Conn, f *os.File, pos int64, n int) error { return copyFile(conn, f, pos, n) }
