package server

import (
	"io"
	"net"
	"os"
)

// copyFile sends [pos, pos+n) of f over conn through a buffer: where there is no sendfile, or no socket.
func copyFile(conn net.Conn, f *os.File, pos int64, n int) error {
	sent, err := io.Copy(conn, io.NewSectionReader(f, pos, int64(n)))
	if err == nil && sent < int64(n) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
