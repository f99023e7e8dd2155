package server

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendFile sends [pos, pos+n) of f over conn without bringing it into the process. The offset is explicit: io.Copy would use and move the file's
// shared position, and several connections send from one file at a time.
func sendFile(conn net.Conn, f *os.File, pos int64, n int) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return copyFile(conn, f, pos, n)
	}
	to, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	from, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var refused, failed error
	err = from.Control(func(source uintptr) {
		failed = to.Write(func(target uintptr) (done bool) {
			n, done, refused = sendSome(int(target), int(source), &pos, n)
			return done
		})
	})
	return errors.Join(err, failed, refused)
}

// sendSome sends what the socket takes. done false: it takes no more now.
func sendSome(target, source int, pos *int64, n int) (left int, done bool, err error) {
	for n > 0 {
		sent, err := unix.Sendfile(target, source, pos, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return n, false, nil
		case err != nil:
			return n, true, &net.OpError{Op: "sendfile", Net: "tcp", Err: err}
		case sent == 0:
			return n, true, io.ErrUnexpectedEOF
		}
		n -= sent
	}
	return 0, true, nil
}
