package server

import "net"

// connWriter is the sending side of a connection: it gathers bytes until flush. Only the goroutine that drains the connection's answers uses it.
type connWriter struct {
	conn net.Conn
	buf  []byte
}

// newConnWriter returns the writer of a connection.
func newConnWriter(c net.Conn) *connWriter { return &connWriter{conn: c} }

// flush sends what was gathered.
func (w *connWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.conn.Write(w.buf)
	if w.buf = w.buf[:0]; cap(w.buf) > 1<<20 {
		w.buf = nil
	}
	return err
}
