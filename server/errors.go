package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A refusal is a client-visible failure with the sentence that explains it.
type refusal struct {
	code    *kerr.Error
	message string
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.code }

// refuse makes a client-visible failure with a message of our own.
func refuse(code *kerr.Error, format string, args ...any) error {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

// code is the one place where an error becomes a Kafka error code. An error that no room has a code for becomes UNKNOWN_SERVER_ERROR
// and is logged here, once.
func (s *Server) code(err error) int16 {
	if err == nil {
		return 0
	}
	var k *kerr.Error
	switch {
	case errors.As(err, &k):
		return k.Code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kerr.RequestTimedOut.Code
	}
	s.log.Error("request failed", "error", err)
	return kerr.UnknownServerError.Code
}

// explain is the error message for the client: nil without an error, and no internals for an error that has no code.
func explain(err error) *string {
	if err == nil {
		return nil
	}
	var r *refusal
	if errors.As(err, &r) {
		return &r.message
	}
	var k *kerr.Error
	if !errors.As(err, &k) {
		return nil
	}
	// Rooms wrap the Kafka error into a sentence; its name is in the code already.
	text := strings.Trim(strings.ReplaceAll(strings.Replace(err.Error(), k.Error(), "", 1), ": : ", ": "), ": ")
	if text == "" {
		text = k.Description
	}
	return &text
}
