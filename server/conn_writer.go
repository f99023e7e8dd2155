package server

import (
	"net"

	"varve/commitlog"
)

const (
	// copyBelow is the size (bytes) up to which a piece of memory is copied behind what is gathered rather than sent by itself.
	copyBelow = 4 << 10
	// maxGathered bounds the buffer that an idle connection keeps, in bytes.
	maxGathered = 1 << 20
)

// connWriter is the sending side of a connection: it gathers bytes until flush, and sends record bytes from where they are: memory by
// writev with what was gathered before it, files by sendfile. Only the goroutine that drains the connection's answers uses it.
type connWriter struct {
	conn net.Conn
	buf  []byte
	vec  net.Buffers // of one writev, reused
}

// newConnWriter returns the writer of a connection.
func newConnWriter(c net.Conn) *connWriter { return &connWriter{conn: c} }

// flush sends what was gathered.
func (w *connWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.conn.Write(w.buf)
	w.gathered()
	return err
}

// gathered forgets what was gathered, which is sent.
func (w *connWriter) gathered() {
	if w.buf = w.buf[:0]; cap(w.buf) > maxGathered {
		w.buf = nil
	}
}

// piece sends record bytes behind what was gathered. A file that is shorter than its piece is an error: the answer's size is promised already,
// and the connection must close.
func (w *connWriter) piece(p commitlog.Piece) error {
	switch {
	case p.File != nil:
		if err := w.flush(); err != nil {
			return err
		}
		return sendFile(w.conn, p.File, p.Pos, p.Len)
	case len(p.Mem) <= copyBelow:
		w.buf = append(w.buf, p.Mem...)
		return nil
	}
	w.vec = append(w.vec[:0], w.buf, p.Mem)
	vec := w.vec // WriteTo consumes its receiver
	_, err := vec.WriteTo(w.conn)
	clear(w.vec)
	w.gathered()
	return err
}
